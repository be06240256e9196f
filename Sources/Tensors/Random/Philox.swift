import AttentionCLibrary
import AttentionCPUKernels
import AttentionCUDAKernels

/// A counter-based random number generator: Philox 4x32-10.
///
/// The n-th number of a stream is a function of the key and n alone, so streams can be split, drawn in any
/// order and resumed from a saved position, with the same numbers on every machine.
///
/// Reference: Salmon, Moraes, Dror, Shaw, *Parallel random numbers: as easy as 1, 2, 3* (2011).
public struct Philox: RandomNumberGenerator, Hashable, Sendable {
  /// The stream.
  public let key: UInt64
  /// The number of 64-bit numbers drawn so far.
  public internal(set) var position: UInt64

  public init(seed: UInt64, position: UInt64 = 0) {
    self.key = seed
    self.position = position
  }

  /// An independent stream named by `label`, such as the path of a parameter.
  public init(seed: UInt64, label: String) {
    // FNV-1a of the label, then one Philox block, so that similar seeds and labels give unrelated keys.
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for byte in label.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
    var words: [UInt32] = [0, 0, 0, 0]
    cpu_philox(seed, hash, 0, &words)
    self.init(seed: UInt64(words[0]) | UInt64(words[1]) << 32)
  }

  public mutating func next() -> UInt64 {
    var words: (UInt32, UInt32, UInt32, UInt32) = (0, 0, 0, 0)
    withUnsafeMutableBytes(of: &words) {
      cpu_philox(key, position / 2, 0, $0.assumingMemoryBound(to: UInt32.self).baseAddress!)
    }
    defer { position += 1 }
    return position % 2 == 0
      ? UInt64(words.0) | UInt64(words.1) << 32 : UInt64(words.2) | UInt64(words.3) << 32
  }

  /// A number in [0, 1) with 53 random bits.
  public mutating func nextUniform() -> Double { Double(next() >> 11) * 0x1p-53 }

  /// A uniform integer in 0..<`bound`; 0 if the bound is at most 1.
  ///
  /// Reference: Lemire, *Fast random integer generation in an interval* (2019).
  public mutating func next(below bound: Int) -> Int {
    guard bound > 1 else { return 0 }
    let bound = UInt64(bound)
    // Rejecting the first 2⁶⁴ mod bound products of each cycle removes the bias.
    let excess = (0 &- bound) % bound
    while true {
      let product = next().multipliedFullWidth(by: bound)
      if product.low >= excess { return Int(product.high) }
    }
  }
}

extension Tensor {
  /// Draws from the normal distribution with mean 0 and the given standard deviation, in float64, rounded
  /// to `dtype`.
  public static func normal(
    _ shape: Shape, standardDeviation: Double = 1, using generator: inout Philox,
    dtype: DType = .float32
  ) throws -> Tensor {
    try Tensor.filling(shape, as: Double.self) { values in
      let count = shape.elementCount
      for place in stride(from: 0, to: count, by: 2) {
        // Box and Muller: two normal numbers from two uniform ones. 1 − u is never zero.
        let radius = (-2 * log(1 - generator.nextUniform())).squareRoot() * standardDeviation
        let angle = 2 * Double.pi * generator.nextUniform()
        values[place] = radius * cos(angle)
        if place + 1 < count { values[place + 1] = radius * sin(angle) }
      }
    }.cast(to: dtype)
  }

  /// Draws from the uniform distribution on [low, high), in float64, rounded to `dtype`.
  public static func uniform(
    _ shape: Shape, from low: Double = 0, to high: Double = 1, using generator: inout Philox,
    dtype: DType = .float32
  ) throws -> Tensor {
    try Tensor.filling(shape, as: Double.self) { values in
      for place in 0..<shape.elementCount {
        values[place] = low + (high - low) * generator.nextUniform()
      }
    }.cast(to: dtype)
  }
}

extension Philox {
  /// Skips `count` numbers of the stream.
  public mutating func skip(_ count: Int) { position &+= UInt64(count) }
}

extension Tensor {
  /// The next 64-bit numbers of a stream, as int64 with the same bits, in row-major order: the same on every
  /// device.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if the shape is invalid.
  public static func randomBits(
    _ shape: Shape, using generator: inout Philox, device: Device = .cpu
  ) throws -> Tensor {
    let count = try shape.validated(elementSize: DType.int64.size)
    if device != .cpu {
      let result = try Tensor.onDevice(shape, dtype: .int64, device: device)
      try DeviceQueue.shared(for: device).launch(
        "tensors/philox", blocks: count.pieces(of: TensorsLayout.threads),
        threads: TensorsLayout.threads,
        TensorsPhiloxParameters(
          y: result.deviceAddress(), count: Int64(count), key: generator.key,
          position: generator.position))
      generator.skip(count)
      return result
    }
    return try Tensor.filling(shape, as: Int64.self) { values in
      for place in 0..<count { values[place] = Int64(bitPattern: generator.next()) }
    }
  }
}
