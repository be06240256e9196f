import AttentionCLibrary

@testable import AttentionLayers

/// Queries, keys and values of a sequence, token by token and head by head.
struct NaiveHeads {
  /// [token][head][dimension]
  var queries, keys, values: [[[Double]]]

  /// - Parameters:
  ///   - p: the parameters `q_proj`, `k_proj`, `v_proj`, and `q_conv1d`, …
  ///   - xs: the tokens.
  ///   - extents: of the heads.
  ///   - silu: whether queries and keys go through a silu; values too unless `valueSiLU` says otherwise.
  ///   - writes: keys and values per token.
  init(
    _ p: NaiveParameters, _ xs: [[Double]], _ extents: HeadExtents, silu: Bool,
    valueSiLU: Bool? = nil, writes: Int = 1
  ) {
    func heads(_ name: String, _ count: Int, _ silu: Bool) -> [[[Double]]] {
      p.convolved(name + "_conv1d", p.linear(name + "_proj", xs), appliesSiLU: silu)
        .map { $0.parts(count) }
    }
    queries = heads("q", extents.heads, silu)
    keys = heads("k", writes * extents.keyHeads, silu)
    values = heads("v", writes * extents.valueHeads, valueSiLU ?? silu)
  }

  /// The same with every key and value head repeated for the query heads that share it.
  func repeated(_ heads: Int) -> NaiveHeads {
    func repeated(_ rows: [[[Double]]]) -> [[[Double]]] {
      rows.map { row in (0..<heads).map { row[$0 / (heads / row.count)] } }
    }
    var result = self
    result.keys = repeated(keys)
    result.values = repeated(values)
    return result
  }
}

/// The feature maps by definition.
func naiveFeatures(_ map: FeatureMap, _ p: NaiveParameters, _ name: String, _ x: [Double])
  -> [Double]
{
  func path(_ layer: String) -> String { name.isEmpty ? layer : name + "." + layer }
  switch map {
  case .identity: return x
  case .elu: return x.map { $0 > 0 ? $0 + 1 : exp($0) }
  case .relu: return x.map { max($0, 0) }
  case .swish: return x.map(silu)
  case .hedgehog:
    let z = p.linear(path("layer"), x)
    let weights = (z + z.map { -$0 }).map { exp(2 * $0) }
    return weights.map { $0 / weights.reduce(0, +) }
  case .t2r: return p.linear(path("layer"), x).map { max($0, 0) }
  case .elementwiseProduct: return p.linear(path("layer1"), x) * p.linear(path("layer2"), x)
  }
}

/// Norm over each head, gate and projection.
func naiveOutput(
  _ p: NaiveParameters, _ heads: [[Double]], norm: String, epsilon: Double, gate: [Double]?,
  _ function: (Double) -> Double = silu, projection: String = "o_proj"
) -> [Double] {
  let normal = heads.flatMap { p.rmsNorm(norm, $0, epsilon: epsilon) }
  return p.linear(projection, gate.map { normal * $0.map(function) } ?? normal)
}
