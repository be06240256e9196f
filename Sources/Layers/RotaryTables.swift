import Glibc
import Synchronization
import Tensors

/// Cosines and sines of the angles of a rotary embedding, computed in float64 and rounded.
struct RotaryTables: Sendable {
  /// Float32 [positions, dimension / 2].
  let cosines: Tensor
  let sines: Tensor
  var positions: Int { cosines.shape[0] }

  /// Tables start with this many positions, then double.
  private static let smallestCount = 256
  private static let cache = Mutex<[RotaryEmbedding: RotaryTables]>([:])

  /// Tables of at least `positions` positions, kept for all layers and steps of the process.
  static func shared(_ rotary: RotaryEmbedding, positions: Int) throws -> RotaryTables {
    try cache.withLock { cache in
      if let found = cache[rotary], found.positions >= positions { return found }
      var count = max(smallestCount, cache[rotary]?.positions ?? 0)
      while count < positions { count *= 2 }
      let tables = try RotaryTables(rotary, positions: count)
      cache[rotary] = tables
      return tables
    }
  }

  private init(_ rotary: RotaryEmbedding, positions: Int) throws {
    let half = rotary.dimension / 2
    let frequencies = rotary.frequencies
    func table(_ function: (Double) -> Double) throws -> Tensor {
      try Tensor.filling([positions, half], as: Float.self) { target in
        for position in 0..<positions {
          for (pair, frequency) in frequencies.enumerated() {
            target[position * half + pair] = Float(function(Double(position) * frequency))
          }
        }
      }
    }
    cosines = try table(cos)
    sines = try table(sin)
  }
}
