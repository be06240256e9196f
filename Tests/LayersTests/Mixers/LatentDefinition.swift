import AttentionCLibrary

@testable import AttentionLayers

extension RecurrentCase {
  static let latent: [RecurrentCase] = {
    var options = LatentAttention.Options(heads: 3)
    (options.plainDimension, options.rotaryDimension, options.valueDimension) = (4, 4, 6)
    options.normEpsilon = normEpsilon
    options.rank = 24
    // Whole sequences compute keys and values of every head, single tokens attend to latents.
    var wide = options
    wide.queryRank = 5
    wide.hasBias = true
    wide.scale = 0.3
    // Latents so short that whole sequences attend to them too.
    var narrow = options
    narrow.rank = 3
    narrow.rotaryTheta = nil
    var halves = options
    halves.isRotaryInterleaved = false
    return [("wide", wide), ("narrow", narrow), ("halves", halves)].map { name, options in
      RecurrentCase("latent, \(name)", LatentAttention.self, options) { p, xs in
        let (plain, turned) = (options.plainDimension, options.rotaryDimension)
        func rotated(_ x: [Double], at position: Int) -> [Double] {
          guard let theta = options.rotaryTheta else { return x }
          var y = x
          for pair in 0..<turned / 2 {
            let angle = Double(position) * pow(theta, -2 * Double(pair) / Double(turned))
            let (i, j) =
              options.isRotaryInterleaved ? (2 * pair, 2 * pair + 1) : (pair, pair + turned / 2)
            y[i] = x[i] * cos(angle) - x[j] * sin(angle)
            y[j] = x[j] * cos(angle) + x[i] * sin(angle)
          }
          return y
        }
        let queries = xs.enumerated().map { position, x in
          let projected =
            options.queryRank == nil
            ? p.linear("q_proj", x)
            : p.linear(
              "q_b_proj",
              p.rmsNorm("q_a_layernorm", p.linear("q_a_proj", x), epsilon: options.normEpsilon))
          return projected.parts(options.heads).map { head in
            let parts = head.split(plain, turned)
            return parts[0] + rotated(parts[1], at: position)
          }
        }
        let pairs = xs.enumerated().map { position, x in
          let parts = p.linear("kv_a_proj_with_mqa", x).split(options.rank, turned)
          let latent = p.rmsNorm("kv_a_layernorm", parts[0], epsilon: options.normEpsilon)
          return p.linear("kv_b_proj", latent).parts(options.heads).map { head in
            let own = head.split(plain, options.valueDimension)
            return (key: own[0] + rotated(parts[1], at: position), value: own[1])
          }
        }
        let scale = options.scale ?? 1 / Double(plain + turned).squareRoot()
        return xs.indices.map { i in
          let mixed = (0..<options.heads).flatMap { head -> [Double] in
            let weights = (0...i).map { exp(scale * dot(queries[i][head], pairs[$0][head].key)) }
            let total = weights.reduce(0, +)
            return (0..<options.valueDimension).map { place in
              (0...i).reduce(0) { $0 + weights[$1] * pairs[$1][head].value[place] } / total
            }
          }
          return p.linear("o_proj", mixed)
        }
      }
    }
  }()
}
