/// The properties of a GPU that kernels and cost estimates depend on.
public struct DeviceLimits: Hashable, Sendable, Codable {
  public var name: String
  /// Compute capability, 10 · major + minor: 90 for 9.0.
  public var capability: Int
  public var multiprocessors: Int
  public var clockHertz: Double
  public var memoryBytes: Int
  public var memoryBytesPerSecond: Double
  public var l2Bytes: Int
  /// The most shared memory that one block can use.
  public var sharedBytesPerBlock: Int
  public var sharedBytesPerMultiprocessor: Int
  public var registersPerMultiprocessor: Int
  /// Whether a launch can demand that all its blocks run at the same time.
  public var launchesCooperatively = false

  /// Half-precision operations (a multiply-add counts as two) per multiprocessor and cycle with
  /// `mma.sync`, which every device from 8.0 on has.
  private var halfOperationsPerCycle: Double { capability == 80 || capability >= 90 ? 2048 : 1024 }

  /// Nominal rate of half-precision matrix products accumulated in float32.
  public var halfOperationsPerSecond: Double {
    Double(multiprocessors) * clockHertz * halfOperationsPerCycle
  }

  /// The architecture to compile for: the newest in `available` that is at most the device's own and of the
  /// same major version, whose machine code the device runs; nil if there is none.
  public func architecture(from available: [Int]) -> Int? {
    available.filter { $0 <= capability && $0 / 10 == capability / 10 }.max()
  }
}
