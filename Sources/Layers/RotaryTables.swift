import AttentionCLibrary
import Synchronization
import AttentionTensors

/// Cosines and sines of the angles of a rotary embedding, computed in float64 and rounded.
struct RotaryTables: Sendable {
  /// Float32 [positions, dimension / 2].
  let cosines: Tensor
  let sines: Tensor
  var positions: Int { cosines.shape[0] }

  /// Tables start with this many positions, then double.
  private static let smallestCount = 256
  private struct Key: Hashable {
    let rotary: RotaryEmbedding
    let device: Device
  }

  private static let cache = Mutex<[Key: RotaryTables]>([:])

  /// Tables of at least `positions` positions on `device`, shared by all layers and calls of the
  /// process.
  static func shared(_ rotary: RotaryEmbedding, positions: Int, on device: Device) throws
    -> RotaryTables
  {
    try cache.withLock { cache in
      let key = Key(rotary: rotary, device: device)
      if let found = cache[key], found.positions >= positions { return found }
      var count = max(smallestCount, cache[key]?.positions ?? 0)
      while count < positions { count *= 2 }
      let tables = try RotaryTables(rotary, positions: count).moved(to: device)
      cache[key] = tables
      return tables
    }
  }

  private func moved(to device: Device) throws -> RotaryTables {
    RotaryTables(cosines: try cosines.moved(to: device), sines: try sines.moved(to: device))
  }

  private init(cosines: Tensor, sines: Tensor) {
    self.cosines = cosines
    self.sines = sines
  }

  private init(_ rotary: RotaryEmbedding, positions: Int) throws {
    let half = rotary.dimension / 2
    let frequencies = rotary.frequencies
    func table(_ function: (Double) -> Double) throws -> Tensor {
      try Tensor.filling([positions, half], as: Float.self) { target in
        for position in 0..<positions {
          for (pair, frequency) in frequencies.enumerated() {
            target[position * half + pair] = Float(
              rotary.amplitude * function(Double(position) * frequency))
          }
        }
      }
    }
    cosines = try table(cos)
    sines = try table(sin)
  }
}
