import AttentionCLibrary
import AttentionTensors

@testable import AttentionLayers

extension RecurrentCase {
  static let rwkv: [RecurrentCase] = {
    var sixth = RWKV6.Options(heads: 2)
    sixth.normEpsilon = normEpsilon
    sixth.shiftRank = 2
    sixth.decayRank = 3
    sixth.keyExpansion = 1
    sixth.gate = .sigmoid
    var first = RWKV7.Options(heads: 2)
    first.normEpsilon = normEpsilon
    first.layers = 3
    (first.decayRank, first.rateRank, first.valueRank, first.gateRank) = (2, 3, 4, 5)
    var later = first
    later.layer = 2
    let (options, start, end) = (sixth, first, later)
    let seventhChannels = ChannelMixing.Options(inner: 5)
    var sixthChannels = seventhChannels
    sixthChannels.hasReceptance = true
    return [
      RecurrentCase("rwkv 7 channels", ChannelMixing.self, seventhChannels) { p, xs in
        zip(xs, differences(xs)).map { x, difference in
          let inner = p.linear("key", mix(x, difference, p["x_k"])).map { max($0, 0) }
          return p.linear("value", inner * inner)
        }
      },
      RecurrentCase("rwkv 6 channels", ChannelMixing.self, sixthChannels) { p, xs in
        zip(xs, differences(xs)).map { x, difference in
          func shifted(_ name: String) -> [Double] {
            p.linear(name + ".linear", mix(x, difference, p[name + ".mu"]))
          }
          let inner = shifted("key").map { max($0, 0) }
          return shifted("receptance").map(sigmoid) * p.linear("value", inner * inner)
        }
      },
      RecurrentCase("rwkv 6", RWKV6.self, sixth) { rwkv6($0, $1, options) },
      RecurrentCase("rwkv 7, first layer", RWKV7.self, first) { p, xs in
        rwkv7(p, xs, "", first: nil).outputs
      },
      RecurrentCase("rwkv 7, two layers") {
        TwoLayers(
          first: try RWKV7(hidden: hidden, options: start, scope: $0["0"]),
          second: try RWKV7(hidden: hidden, options: end, scope: $0["1"]))
      } definition: { p, xs in
        let first = rwkv7(p, xs, "0.", first: nil)
        return rwkv7(p, first.outputs, "1.", first: first.values).outputs
      },
    ]
  }()

  /// The difference to the token before.
  private static func differences(_ xs: [[Double]]) -> [[Double]] {
    xs.indices.map { t in
      xs[t].indices.map { (t == 0 ? 0 : xs[t - 1][$0]) - xs[t][$0] }
    }
  }

  private static func mix(_ x: [Double], _ difference: [Double], _ share: [Double]) -> [Double] {
    x.indices.map { x[$0] + difference[$0] * share[$0] }
  }

  private static func groupNorm(
    _ p: NaiveParameters, _ name: String, _ heads: [[Double]], epsilon: Double
  ) -> [Double] {
    let normal = heads.flatMap { x -> [Double] in
      let mean = x.reduce(0, +) / Double(x.count)
      let variance = x.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(x.count)
      return x.map { ($0 - mean) / (variance + epsilon).squareRoot() }
    }
    return zip(normal * p[name + ".weight"], p[name + ".bias"]).map { $0 + $1 }
  }

  private static func rwkv6(
    _ p: NaiveParameters, _ xs: [[Double]], _ options: RWKV6.Options
  ) -> [[Double]] {
    let deltas = differences(xs)
    var states = Array(repeating: NaiveState(hidden / 2, hidden / 2), count: 2)
    return xs.indices.map { t in
      let inner = p.linear("x_proj.0.linear", mix(xs[t], deltas[t], p["x_proj.0.mu"])).map(tanh)
      let up = p["x_proj.2.weight"].parts(hidden)
      let inputs = (0..<5).map { input -> [Double] in
        let share = (0..<hidden).map { channel in
          dot(inner.parts(5)[input], up[channel].parts(5)[input])
            + p["x_bias"].parts(5)[input][channel]
        }
        return mix(xs[t], deltas[t], share)
      }
      let r = p.linear("r_proj.linear", inputs[0]).parts(2)
      let low = p.linear("w_proj.linear.lora.0", inputs[1]).map(tanh)
      let w = p.linear("w_proj.linear.lora.2", low).map { exp(-exp($0)) }.parts(2)
      let k = p.linear("k_proj.linear", inputs[2]).parts(2)
      let v = p.linear("v_proj.linear", inputs[3]).parts(2)
      let outputs = (0..<2).map { head -> [Double] in
        let own = dot(r[head], p["bonus"].parts(2)[head] * k[head])
        let read = states[head].read(r[head])
        states[head].decay(w[head])
        states[head].write(k[head], v[head])
        return read.indices.map { read[$0] + own * v[head][$0] }
      }
      let normal = groupNorm(p, "g_norm", outputs, epsilon: options.normEpsilon)
      return p.linear("o_proj", normal * p.linear("g_proj.linear", inputs[4]).map(sigmoid))
    }
  }

  private struct Layer {
    let outputs, values: [[Double]]
  }

  private static func rwkv7(
    _ p: NaiveParameters, _ xs: [[Double]], _ scope: String, first: [[Double]]?
  ) -> Layer {
    func lora(_ name: String, _ x: [Double], _ activation: (Double) -> Double) -> [Double] {
      p.linear("\(scope)\(name).lora.2", p.linear("\(scope)\(name).lora.0", x).map(activation))
    }
    let deltas = differences(xs)
    var states = Array(repeating: NaiveState(hidden / 2, hidden / 2), count: 2)
    var values: [[Double]] = []
    let outputs = xs.indices.map { t -> [Double] in
      func input(_ name: String) -> [Double] { mix(xs[t], deltas[t], p["\(scope)x_\(name)"]) }
      let r = p.linear(scope + "r_proj", input("r")).parts(2)
      let w = lora("w_lora", input("w"), tanh).map { exp(-exp(-0.5) * sigmoid($0)) }.parts(2)
      let key = p.linear(scope + "k_proj", input("k"))
      var value = p.linear(scope + "v_proj", input("v"))
      values.append(value)
      if let first {
        let shares = lora("v_lora", input("v")) { $0 }.map(sigmoid)
        value = value.indices.map { value[$0] + (first[t][$0] - value[$0]) * shares[$0] }
      }
      let a = lora("a_lora", input("a")) { $0 }.map(sigmoid)
      let removal = (key * p[scope + "k_k"]).parts(2).map { x in
        x.map { $0 / dot(x, x).squareRoot() }
      }
      let written = zip(key, zip(a, p[scope + "k_a"])).map { $0 * (1 + ($1.0 - 1) * $1.1) }
        .parts(2)
      let v = value.parts(2)
      let heads = (0..<2).map { head -> [Double] in
        let held = states[head].read(removal[head])
        states[head].decay(w[head])
        states[head].write(a.parts(2)[head] * removal[head], held.map { -$0 })
        states[head].write(written[head], v[head])
        return states[head].read(r[head])
      }
      let normal = groupNorm(
        p, scope + "g_norm", heads, epsilon: normEpsilon * Double(hidden / 2))
      let own = (0..<2).flatMap { head -> [Double] in
        let weight = dot(r[head] * p[scope + "r_k"].parts(2)[head], written[head])
        return v[head].map { $0 * weight }
      }
      let mixed = normal.indices.map { normal[$0] + own[$0] }
      return p.linear(scope + "o_proj", mixed * lora("g_lora", input("g"), sigmoid))
    }
    return Layer(outputs: outputs, values: values)
  }
}

/// Two layers of one model, the second of which reads what the first leaves for it.
private struct TwoLayers: TokenMixer {
  let first, second: any TokenMixer

  struct Cache: MixerCache {
    var layers: [(any MixerCache)?]
    var tokenCount: Int { layers[0]?.tokenCount ?? 0 }
    var byteCount: Int { layers.reduce(0) { $0 + ($1?.byteCount ?? 0) } }
  }

  func makeCache() -> any MixerCache { Cache(layers: [first.makeCache(), second.makeCache()]) }

  func callAsFunction(
    _ x: Tensor, context: TokenContext, cache: inout (any MixerCache)?
  ) throws -> Tensor {
    var layers = try cache.asKind(Cache.self)?.layers ?? [nil, nil]
    let inner = try first(x, context: context, cache: &layers[0])
    let outer = try second(inner, context: context, cache: &layers[1])
    if cache != nil { cache = Cache(layers: layers) }
    return outer
  }
}
