import AttentionCLibrary

@testable import AttentionLayers

extension RecurrentCase {
  /// Mixers whose tokens add to a matrix state.
  static let additive: [RecurrentCase] =
    gatedLinear + retention + linear + lightning + hgrn2 + slots + mlstm

  private static let gatedLinear: [RecurrentCase] = {
    var plain = GatedLinearAttention.Options(heads: 2)
    plain.normEpsilon = normEpsilon
    plain.decayRank = 3
    plain.decayDivisor = 2
    var grouped = GatedLinearAttention.Options(heads: 4)
    grouped.normEpsilon = normEpsilon
    grouped.keyValueHeads = 2
    grouped.keyExpansion = 1
    grouped.convolution = ConvolutionOptions(width: 3, hasBias: true)
    grouped.featureMap = .elu
    grouped.decayDivisor = 1
    grouped.smallestDecay = -0.5
    grouped.gate = .sigmoid
    var simple = plain
    simple.decayRank = nil
    simple.gate = nil
    return [("plain", plain), ("grouped", grouped), ("simple", simple)].map { name, options in
      RecurrentCase("gated linear, \(name)", GatedLinearAttention.self, options) { p, xs in
        let extents = try! options.extents(hidden: hidden)
        let heads = NaiveHeads(p, xs, extents, silu: options.convolution.width != nil)
          .repeated(options.heads)
        var states = Array(
          repeating: NaiveState(extents.keyDimension, extents.valueDimension),
          count: options.heads)
        return xs.indices.map { t in
          let logits =
            options.decayRank == nil
            ? p.linear("gk_proj", xs[t]) : p.linear("gk_proj.1", p.linear("gk_proj.0", xs[t]))
          let decay = logits.map { logit -> Double in
            let gate = log(sigmoid(logit)) / options.decayDivisor
            return exp(max(gate, options.smallestDecay ?? -.infinity))
          }
          let outputs = (0..<options.heads).map { head -> [Double] in
            func features(_ x: [Double]) -> [Double] {
              naiveFeatures(options.featureMap, p, "", x)
            }
            if options.decayRank == nil {
              states[head].decay(decay[head])
            } else {
              states[head].decay(
                decay.parts(extents.keyHeads)[head / (options.heads / extents.keyHeads)])
            }
            states[head].write(features(heads.keys[t][head]), heads.values[t][head])
            return states[head].read(features(heads.queries[t][head])).map {
              $0 / Double(extents.keyDimension).squareRoot()
            }
          }
          return naiveOutput(
            p, outputs, norm: options.gate == .swish ? "g_norm_swish_gate" : "g_norm",
            epsilon: options.normEpsilon,
            gate: options.gate == nil ? nil : p.linear("g_proj", xs[t]),
            options.gate == .sigmoid ? sigmoid : silu)
        }
      }
    }
  }()

  private static let retention: [RecurrentCase] = {
    var plain = Retention.Options(heads: 2)
    plain.normEpsilon = normEpsilon
    var grouped = Retention.Options(heads: 4)
    grouped.normEpsilon = normEpsilon
    grouped.keyValueHeads = 2
    grouped.valueExpansion = 1
    grouped.convolution = ConvolutionOptions(width: 2)
    grouped.featureMap = .relu
    grouped.rotaryTheta = 100
    grouped.gate = .sigmoid
    return [("plain", plain), ("grouped", grouped)].map { name, options in
      RecurrentCase("retention, \(name)", Retention.self, options) { p, xs in
        let extents = try! options.extents(hidden: hidden)
        let d = extents.keyDimension
        let heads = NaiveHeads(p, xs, extents, silu: options.convolution.width != nil)
          .repeated(options.heads)
        func rotated(_ x: [Double], _ position: Int) -> [Double] {
          var y = naiveFeatures(options.featureMap, p, "", x)
          for i in 0..<d / 2 {
            let angle = Double(position) * pow(options.rotaryTheta, -2 * Double(i) / Double(d))
            let (a, b) = (y[i], y[i + d / 2])
            y[i] = a * cos(angle) - b * sin(angle)
            y[i + d / 2] = b * cos(angle) + a * sin(angle)
          }
          return y
        }
        var states = Array(
          repeating: NaiveState(d, extents.valueDimension), count: options.heads)
        return xs.indices.map { t in
          let outputs = (0..<options.heads).map { head -> [Double] in
            // The operator's rates are float32.
            states[head].decay(exp(Double(Float(log1p(-exp2(-5 - Double(head)))))))
            states[head].write(rotated(heads.keys[t][head], t), heads.values[t][head])
            return states[head].read(rotated(heads.queries[t][head], t)).map {
              $0 / Double(d).squareRoot()
            }
          }
          return naiveOutput(
            p, outputs, norm: options.gate == .swish ? "g_norm_swish_gate" : "g_norm",
            epsilon: options.normEpsilon, gate: p.linear("g_proj", xs[t]),
            options.gate == .sigmoid ? sigmoid : silu)
        }
      }
    }
  }()

  private static let linear: [RecurrentCase] = {
    var normalized = FeatureMapAttention.Options(heads: 2)
    normalized.normalizes = true
    var shared = FeatureMapAttention.Options(heads: 4)
    shared.keyValueHeads = 2
    shared.featureMap = .hedgehog
    shared.valueExpansion = 2
    var summed = FeatureMapAttention.Options(heads: 2)
    summed.featureMap = .elu
    summed.normalizesQueries = true
    summed.normalizesKeys = true
    summed.hasNorm = false
    var product = summed
    product.featureMap = .elementwiseProduct
    product.normalizesQueries = false
    product.normalizesKeys = false
    product.hasNorm = true
    return [
      ("normalized", normalized), ("hedgehog", shared), ("summed", summed), ("product", product),
    ].map { name, options in
      var options = options
      options.normEpsilon = normEpsilon
      let chosen = options
      return RecurrentCase("linear, \(name)", FeatureMapAttention.self, options) { p, xs in
        let extents = try! chosen.extents(hidden: hidden)
        let heads = NaiveHeads(p, xs, extents, silu: false).repeated(chosen.heads)
        let width = extents.keyDimension * (chosen.featureMap == .hedgehog ? 2 : 1)
        func features(_ x: [Double], _ name: String, _ isSummed: Bool) -> [Double] {
          let y = naiveFeatures(chosen.featureMap, p, name, x)
          return isSummed ? y.map { $0 / (y.reduce(0, +) + 1e-4) } : y
        }
        var states = Array(
          repeating: NaiveState(width, extents.valueDimension), count: chosen.heads)
        var sums = Array(repeating: NaiveState(width, 1), count: chosen.heads)
        return xs.indices.map { t in
          let outputs = (0..<chosen.heads).map { head -> [Double] in
            let q = features(heads.queries[t][head], "feature_map_q", chosen.normalizesQueries)
            let k = features(heads.keys[t][head], "feature_map_k", chosen.normalizesKeys)
            states[head].write(k, heads.values[t][head])
            sums[head].write(k, [1])
            let total =
              chosen.normalizes
              ? sums[head].read(q)[0] + 1e-10 : Double(width).squareRoot()
            let read = states[head].read(q).map { $0 / total }
            return chosen.hasNorm ? p.rmsNorm("norm", read, epsilon: chosen.normEpsilon) : read
          }
          return p.linear("o_proj", outputs.flatMap { $0 })
        }
      }
    }
  }()

  private static let lightning: [RecurrentCase] = {
    var options = LightningAttention.Options(heads: 2)
    options.normEpsilon = normEpsilon
    options.headDimension = 3
    options.layer = 1
    options.layers = 3
    let chosen = options
    return [
      RecurrentCase("lightning", LightningAttention.self, options) { p, xs in
        var states = Array(repeating: NaiveState(3, 3), count: 2)
        return xs.map { x in
          let rows = p.linear("qkv_proj", x).map(silu).parts(2)
          let outputs = (0..<2).flatMap { head -> [Double] in
            let parts = rows[head].parts(3)
            states[head].decay(exp(Double(chosen.decays[head])))
            states[head].write(parts[1], parts[2])
            return states[head].read(parts[0])
          }
          return naiveOutput(
            p, [outputs], norm: "norm", epsilon: normEpsilon, gate: p.linear("output_gate", x),
            sigmoid, projection: "out_proj")
        }
      }
    ]
  }()

  private static let hgrn2: [RecurrentCase] = {
    var plain = HGRN2.Options(heads: 2)
    plain.normEpsilon = normEpsilon
    var bounded = plain
    bounded.keyDimension = 3
    bounded.lowerBound = 0.3
    bounded.convolution = ConvolutionOptions(width: 2, hasBias: true)
    return [("plain", plain), ("bounded", bounded)].map { name, options in
      RecurrentCase("hgrn 2, \(name)", HGRN2.self, options) { p, xs in
        let k = options.keyDimension ?? hidden / 2
        func rows(_ name: String) -> [[[Double]]] {
          p.convolved(name + "_conv1d", p.linear(name + "_proj", xs), appliesSiLU: false)
            .map { $0.parts(2) }
        }
        let (q, f, i) = (rows("q"), rows("f"), rows("i"))
        var states = Array(repeating: NaiveState(k, hidden / 2), count: 2)
        return xs.indices.map { t in
          let outputs = (0..<2).flatMap { head -> [Double] in
            let bound = options.lowerBound ?? 0
            let gate = f[t][head].map { bound + (1 - bound) * sigmoid($0) }
            states[head].decay(gate)
            states[head].write(gate.map { 1 - $0 }, i[t][head])
            return states[head].read(q[t][head].map(silu)).map { $0 / Double(k).squareRoot() }
          }
          return naiveOutput(p, [outputs], norm: "g_norm", epsilon: normEpsilon, gate: nil)
        }
      }
    }
  }()

  private static let slots: [RecurrentCase] = {
    var plain = SlotAttention.Options(heads: 2)
    plain.normEpsilon = normEpsilon
    plain.decayDivisor = 2
    var grouped = SlotAttention.Options(heads: 4)
    grouped.normEpsilon = normEpsilon
    grouped.keyValueHeads = 2
    grouped.slots = 3
    grouped.convolution = ConvolutionOptions(width: 2)
    grouped.featureMap = .elementwiseProduct
    return [("plain", plain), ("grouped", grouped)].map { name, options in
      RecurrentCase("gated slot, \(name)", SlotAttention.self, options) { p, xs in
        let extents = try! options.extents(hidden: hidden)
        let slots = options.slots ?? extents.keyDimension
        let heads = NaiveHeads(p, xs, extents, silu: options.convolution.width != nil)
          .repeated(options.heads)
        func features(_ x: [Double]) -> [Double] {
          naiveFeatures(options.featureMap, p, "feature_map", x)
        }
        var keys = Array(
          repeating: NaiveState(slots, extents.keyDimension), count: options.heads)
        var values = Array(
          repeating: NaiveState(slots, extents.valueDimension), count: options.heads)
        return xs.indices.map { t in
          let gates = p.linear("f_proj", xs[t]).map { pow(sigmoid($0), 1 / options.decayDivisor) }
          let outputs = (0..<options.heads).flatMap { head -> [Double] in
            let gate = gates.parts(extents.keyHeads)[head / (options.heads / extents.keyHeads)]
            let writes = gate.map { 1 - $0 }
            keys[head].decay(gate)
            keys[head].write(writes, features(heads.keys[t][head]))
            values[head].decay(gate)
            values[head].write(writes, heads.values[t][head].map(silu))
            let query = features(heads.queries[t][head])
            let scores = keys[head].rows.map { exp(dot($0, query)) }
            return values[head].read(scores.map { $0 / scores.reduce(0, +) })
          }
          return naiveOutput(
            p, [outputs.map(silu)], norm: "g_norm", epsilon: normEpsilon, gate: nil)
        }
      }
    }
  }()

  private static let mlstm: [RecurrentCase] = {
    var plain = MLSTM.Options(heads: 2)
    plain.normEpsilon = normEpsilon
    var biased = plain
    biased.keyExpansion = 1
    biased.gateCap = 3
    biased.hasBias = true
    return [("plain", plain), ("biased", biased)].map { name, options in
      RecurrentCase("mlstm, \(name)", MLSTM.self, options) { p, xs in
        let extents = try! options.extents(hidden: hidden)
        let (k, v) = (extents.keyDimension, extents.valueDimension)
        var states = Array(repeating: NaiveState(k, v), count: 2)
        var sums = Array(repeating: NaiveState(k, 1), count: 2)
        return xs.map { x in
          func heads(_ name: String) -> [[Double]] { p.linear(name, x).parts(2) }
          func gates(_ name: String) -> [Double] {
            p.linear(name, x).map { options.gateCap * tanh($0 / options.gateCap) }
          }
          let (queries, keys, values) = (heads("q"), heads("k"), heads("v"))
          let (inputs, forgets) = (gates("igate_preact"), gates("fgate_preact"))
          let normal = (0..<2).flatMap { head -> [Double] in
            let written = keys[head].map { $0 * exp(inputs[head]) }
            let query = queries[head].map { $0 / Double(k).squareRoot() }
            states[head].decay(sigmoid(forgets[head]))
            states[head].write(written, values[head])
            sums[head].decay(sigmoid(forgets[head]))
            sums[head].write(written, [1])
            let total = max(abs(sums[head].read(query)[0]), 1)
            let h = states[head].read(query).map { $0 / total }
            let mean = h.reduce(0, +) / Double(v)
            let variance = h.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(v)
            return h.map { ($0 - mean) / (variance + normEpsilon).squareRoot() }
          }
          var scaled = normal * p["multihead_norm.weight"]
          if options.hasBias { scaled = zip(scaled, p["multihead_norm.bias"]).map { $0 + $1 } }
          return p.linear("out_proj", scaled * p.linear("ogate_preact", x).map(sigmoid))
        }
      }
    }
  }()
}
