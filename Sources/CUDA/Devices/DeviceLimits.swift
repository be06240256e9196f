/// What a GPU has.
public struct DeviceLimits: Hashable, Sendable, Codable {
  public var name: String
  /// Major and minor as one number: 90 for 9.0.
  public var capability: Int
  public var multiprocessors: Int
  public var clockHertz: Double
  public var memoryBytes: Int
  public var memoryBytesPerSecond: Double
  public var l2Bytes: Int
  /// The most shared memory that one block can be given.
  public var sharedBytesPerBlock: Int
  public var sharedBytesPerMultiprocessor: Int
  public var registersPerMultiprocessor: Int

  /// Multiply-adds of half precision a multiprocessor and cycle, counted as two: of `mma.sync`, which
  /// every device from 8.0 on has.
  private var halfOperationsPerCycle: Double { capability == 80 || capability >= 90 ? 2048 : 1024 }

  /// The nominal rate of half-precision matrix products with float32 sums.
  public var halfOperationsPerSecond: Double {
    Double(multiprocessors) * clockHertz * halfOperationsPerCycle
  }

  /// The architecture to compile for, of those that a compiler has: the device's own, or the newest
  /// before it of the same generation, whose machine code runs there too; nil if there is none.
  public func architecture(from available: [Int]) -> Int? {
    available.filter { $0 <= capability && $0 / 10 == capability / 10 }.max()
  }
}
