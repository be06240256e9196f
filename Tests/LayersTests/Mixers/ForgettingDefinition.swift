import AttentionCLibrary

@testable import AttentionLayers

extension RecurrentCase {
  static let forgetting: [RecurrentCase] = {
    let plain = ForgettingAttention.Options(heads: 2)
    var windowed = ForgettingAttention.Options(heads: 4)
    windowed.keyValueHeads = 2
    windowed.hasBias = true
    windowed.normalizesQueriesAndKeys = true
    windowed.normEpsilon = normEpsilon
    windowed.window = 3
    windowed.hasGate = true
    return [("plain", plain), ("windowed", windowed)].map { name, options in
      RecurrentCase("forgetting, \(name)", ForgettingAttention.self, options) { p, xs in
        let heads = options.heads
        let d = hidden / heads
        let shared = options.keyValueHeads ?? heads
        func normal(_ name: String, _ x: [Double], _ count: Int) -> [[Double]] {
          guard options.normalizesQueriesAndKeys else { return x.parts(count) }
          let weight = p[name + ".weight"].parts(count)
          return zip(x.parts(count), weight).map {
            p.rmsNorm("", $0, epsilon: options.normEpsilon) * $1
          }
        }
        let q = xs.map { normal("q_norm", p.linear("q_proj", $0), heads) }
        let k = xs.map { normal("k_norm", p.linear("k_proj", $0), shared) }
        let v = xs.map { p.linear("v_proj", $0).parts(shared) }
        let gates = xs.map { p.linear("f_proj", $0).map { log(sigmoid($0)) } }
        return xs.indices.map { i in
          let mixed = (0..<heads).flatMap { head -> [Double] in
            let group = head / (heads / shared)
            let first = options.window.map { max(0, i - $0 + 1) } ?? 0
            var (total, sum) = (0.0, Array(repeating: 0.0, count: d))
            for j in first...i {
              let decay = gates[(j + 1)..<(i + 1)].reduce(0) { $0 + $1[head] }
              let weight = exp(dot(q[i][head], k[j][group]) / Double(d).squareRoot() + decay)
              total += weight
              sum = sum.indices.map { sum[$0] + weight * v[j][group][$0] }
            }
            return sum.map { $0 / total }
          }
          let gate = options.hasGate ? p.linear("g_proj", xs[i]).map(sigmoid) : nil
          return p.linear("o_proj", gate.map { mixed * $0 } ?? mixed)
        }
      }
    }
  }()
}
