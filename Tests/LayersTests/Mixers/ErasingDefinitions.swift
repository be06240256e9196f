import AttentionCLibrary

@testable import AttentionLayers

extension RecurrentCase {
  /// Mixers whose tokens erase from a matrix state what they replace, besides Gated DeltaNet.
  static let erasing: [RecurrentCase] = deltaNets + kimi + secondNets + products + combas

  /// The factor of a state-space decay.
  private static func decay(_ p: NaiveParameters, _ logits: [Double], _ head: Int) -> Double {
    exp(-exp(p["A_log"][head]) * softplus(logits[head] + p["dt_bias"][head]))
  }

  private static let deltaNets: [RecurrentCase] = {
    var plain = DeltaNet.Options(heads: 2)
    plain.normEpsilon = normEpsilon
    var summed = plain
    summed.featureMap = .elu
    summed.norm = .sum
    summed.allowsNegativeEigenvalues = true
    summed.convolution = ConvolutionOptions(width: 2, hasBias: true)
    summed.hasGate = true
    summed.valueExpansion = 0.5
    var constant = plain
    constant.hasBeta = false
    constant.convolution.width = nil
    return [("plain", plain), ("summed", summed), ("constant", constant)].map { name, options in
      RecurrentCase("delta net, \(name)", DeltaNet.self, options) { p, xs in
        let extents = try! options.extents(hidden: hidden)
        let convolves = options.featureMap == .swish
        let heads = NaiveHeads(p, xs, extents, silu: convolves, valueSiLU: true)
        func normal(_ x: [Double]) -> [Double] {
          let y = convolves ? x : naiveFeatures(options.featureMap, p, "", x)
          guard options.norm == .sum else { return unit(y) }
          let total = y.reduce(0) { $0 + abs($1) }
          return y.map { $0 / max(total, 1e-6) }
        }
        var states = Array(
          repeating: NaiveState(extents.keyDimension, extents.valueDimension),
          count: options.heads)
        return xs.indices.map { t in
          let outputs = (0..<options.heads).map { head -> [Double] in
            let key = normal(heads.keys[t][head])
            var rate = options.hasBeta ? sigmoid(p.linear("b_proj", xs[t])[head]) : 1
            if options.allowsNegativeEigenvalues { rate *= 2 }
            let held = states[head].read(key)
            states[head].write(
              key, held.indices.map { rate * (heads.values[t][head][$0] - held[$0]) })
            return states[head].read(normal(heads.queries[t][head])).map {
              $0 / Double(extents.keyDimension).squareRoot()
            }
          }
          return naiveOutput(
            p, outputs, norm: "o_norm", epsilon: normEpsilon,
            gate: options.hasGate ? p.linear("g_proj", xs[t]) : nil)
        }
      }
    }
  }()

  private static let kimi: [RecurrentCase] = {
    var plain = KimiDeltaAttention.Options(heads: 2)
    plain.normEpsilon = normEpsilon
    var bounded = plain
    bounded.valueHeads = 4
    bounded.valueDimension = 3
    bounded.smallestDecay = -2
    bounded.allowsNegativeEigenvalues = true
    var published = plain
    published.layout = .kimi
    var full = plain
    full.layout = .bailing
    return [
      ("plain", plain), ("bounded", bounded), ("kimi", published), ("bailing", full),
    ].map { name, options in
      RecurrentCase("kimi delta, \(name)", KimiDeltaAttention.self, options) { p, xs in
        let extents = options.extents(hidden: hidden)
        let heads = NaiveHeads(p, xs, extents, silu: true)
        let group = extents.valueHeads / extents.heads
        func lowRank(_ name: String, _ x: [Double]) -> [Double] {
          switch options.layout {
          case .fla: p.linear("\(name)_proj.1", p.linear("\(name)_proj.0", x))
          case .kimi: p.linear("\(name)_b_proj", p.linear("\(name)_a_proj", x))
          case .bailing: p.linear("\(name)_proj", x)
          }
        }
        var states = Array(
          repeating: NaiveState(extents.keyDimension, extents.valueDimension),
          count: extents.valueHeads)
        return xs.indices.map { t in
          let logits = lowRank("f", xs[t]).parts(extents.valueHeads)
          let bias = p["dt_bias"].parts(extents.valueHeads)
          let outputs = (0..<extents.valueHeads).map { head -> [Double] in
            let rate = exp(p["A_log"][head])
            states[head].decay(
              zip(logits[head], bias[head]).map { logit, bias in
                options.smallestDecay.map { exp($0 * sigmoid(rate * (logit + bias))) }
                  ?? exp(-rate * softplus(logit + bias))
              })
            let key = unit(heads.keys[t][head / group])
            let beta =
              sigmoid(p.linear("b_proj", xs[t])[head])
              * (options.allowsNegativeEigenvalues ? 2 : 1)
            let held = states[head].read(key)
            states[head].write(
              key, held.indices.map { beta * (heads.values[t][head][$0] - held[$0]) })
            return states[head].read(unit(heads.queries[t][head / group])).map {
              $0 / Double(extents.keyDimension).squareRoot()
            }
          }
          return naiveOutput(
            p, outputs, norm: "o_norm", epsilon: normEpsilon, gate: lowRank("g", xs[t]), sigmoid)
        }
      }
    }
  }()

  private static let secondNets: [RecurrentCase] = {
    var plain = GatedDeltaNet2.Options(heads: 2)
    plain.normEpsilon = normEpsilon
    var grouped = plain
    grouped.valueHeads = 4
    grouped.valueDimension = 3
    grouped.allowsNegativeEigenvalues = true
    grouped.convolution = ConvolutionOptions(width: nil)
    return [("plain", plain), ("grouped", grouped)].map { name, options in
      RecurrentCase("gated delta net 2, \(name)", GatedDeltaNet2.self, options) { p, xs in
        let extents = options.extents(hidden: hidden)
        let heads = NaiveHeads(p, xs, extents, silu: true)
        let group = extents.valueHeads / extents.heads
        func lowRank(_ name: String, _ x: [Double]) -> [Double] {
          p.linear("\(name)_proj.1", p.linear("\(name)_proj.0", x))
        }
        var states = Array(
          repeating: NaiveState(extents.keyDimension, extents.valueDimension),
          count: extents.valueHeads)
        return xs.indices.map { t in
          let logits = zip(lowRank("f", xs[t]), p["dt_bias"]).map { $0 + $1 }
          let outputs = (0..<extents.valueHeads).map { head -> [Double] in
            let shared = head / group
            let rate = exp(p["A_log"][shared])
            states[head].decay(
              logits.parts(extents.heads)[shared].map { exp(-rate * softplus($0)) })
            let key = unit(heads.keys[t][shared])
            let largest = options.allowsNegativeEigenvalues ? 2.0 : 1
            let erase = p.linear("b_proj", xs[t]).parts(extents.heads)[shared].map {
              largest * sigmoid($0)
            }
            let write = p.linear("w_proj", xs[t]).parts(extents.valueHeads)[head].map(sigmoid)
            let held = states[head].read(erase * key)
            let value = write * heads.values[t][head]
            states[head].write(key, zip(value, held).map { $0 - $1 })
            return states[head].read(unit(heads.queries[t][shared])).map {
              $0 / Double(extents.keyDimension).squareRoot()
            }
          }
          return naiveOutput(
            p, outputs, norm: "o_norm", epsilon: normEpsilon, gate: lowRank("g", xs[t]), sigmoid)
        }
      }
    }
  }()

  private static let products: [RecurrentCase] = {
    var plain = GatedDeltaProduct.Options(heads: 2)
    plain.normEpsilon = normEpsilon
    var grouped = plain
    grouped.valueHeads = 4
    grouped.valueDimension = 3
    grouped.updates = 3
    grouped.hasDecay = false
    grouped.hasGate = false
    grouped.allowsNegativeEigenvalues = false
    grouped.convolution = ConvolutionOptions(width: nil)
    return [("plain", plain), ("grouped", grouped)].map { name, options in
      RecurrentCase("gated delta product, \(name)", GatedDeltaProduct.self, options) { p, xs in
        let extents = options.extents(hidden: hidden)
        let heads = NaiveHeads(p, xs, extents, silu: true, writes: options.updates)
        let group = extents.valueHeads / extents.heads
        var states = Array(
          repeating: NaiveState(extents.keyDimension, extents.valueDimension),
          count: extents.valueHeads)
        return xs.indices.map { t in
          let outputs = (0..<extents.valueHeads).map { head -> [Double] in
            if options.hasDecay {
              states[head].decay(decay(p, p.linear("a_proj", xs[t]), head))
            }
            for update in 0..<options.updates {
              let key = unit(heads.keys[t][update * extents.heads + head / group])
              let value = heads.values[t][update * extents.valueHeads + head]
              let beta =
                sigmoid(p.linear("b_proj", xs[t])[update * extents.valueHeads + head])
                * (options.allowsNegativeEigenvalues ? 2 : 1)
              let held = states[head].read(key)
              states[head].write(key, held.indices.map { beta * (value[$0] - held[$0]) })
            }
            return states[head].read(unit(heads.queries[t][head / group])).map {
              $0 / Double(extents.keyDimension).squareRoot()
            }
          }
          return naiveOutput(
            p, outputs, norm: "o_norm", epsilon: normEpsilon,
            gate: options.hasGate ? p.linear("g_proj", xs[t]) : nil)
        }
      }
    }
  }()

  private static let combas: [RecurrentCase] = {
    var plain = Comba.Options(heads: 2)
    plain.normEpsilon = normEpsilon
    plain.valueHeads = 4
    plain.valueDimension = 3
    plain.correction = 0.3
    var bare = Comba.Options(heads: 2)
    bare.normEpsilon = normEpsilon
    bare.hasInnerDecay = false
    bare.correction = nil
    bare.hasGate = false
    return [("plain", plain), ("bare", bare)].map { name, options in
      RecurrentCase("comba, \(name)", Comba.self, options) { p, xs in
        let extents = options.extents(hidden: hidden)
        let heads = NaiveHeads(p, xs, extents, silu: true)
        let group = extents.valueHeads / extents.heads
        var states = Array(
          repeating: NaiveState(extents.keyDimension, extents.valueDimension),
          count: extents.valueHeads)
        return xs.indices.map { t in
          let outputs = (0..<extents.valueHeads).map { head -> [Double] in
            let shared = head / group
            let share = options.hasInnerDecay ? sigmoid(p["decay"][shared]) : 1
            let read = heads.keys[t][shared].map { $0 * share }
            let correction = options.correction == nil ? 0 : p["D"][shared]
            let query = zip(heads.queries[t][shared], read).map { $0 - correction * $1 }
            let beta = sigmoid(p.linear("b_proj", xs[t])[head])
            // The state is read before its decay.
            let held = states[head].read(unit(read))
            states[head].decay(decay(p, p.linear("a_proj", xs[t]), head))
            states[head].write(
              unit(heads.keys[t][shared]),
              held.indices.map { beta * (heads.values[t][head][$0] - held[$0]) })
            return states[head].read(unit(query)).map {
              $0 / Double(extents.keyDimension).squareRoot()
            }
          }
          return naiveOutput(
            p, outputs, norm: "o_norm", epsilon: normEpsilon,
            gate: options.hasGate ? p.linear("g_proj", xs[t]) : nil, sigmoid)
        }
      }
    }
  }()
}
