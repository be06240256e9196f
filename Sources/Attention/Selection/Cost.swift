import AttentionTensors

/// What a kernel needs for a problem, and the time that follows on a machine of given rates.
public struct Cost: Hashable, Sendable, Codable {
  /// Floating-point operations, a multiply-add counted as two.
  public var operations: Double
  /// Bytes read and written beyond the caches.
  public var bytes: Double
  /// Bytes of working memory beside inputs and outputs.
  public var extraMemory: Int
  /// The share of the machine's peak that the kernel's inner loop reaches when nothing else holds
  /// it up, from 0 to 1.
  public var efficiency: Double
  /// Seconds that pass however small the problem is.
  public var overhead: Double
  /// How many independent pieces of work there are: fewer than threads leave threads idle.
  public var pieces: Int
  /// What the estimate rests on, where figures do not say it.
  public var note: String?

  public init(
    operations: Double, bytes: Double, extraMemory: Int, efficiency: Double, overhead: Double,
    pieces: Int
  ) {
    self.operations = operations
    self.bytes = bytes
    self.extraMemory = extraMemory
    self.efficiency = efficiency
    self.overhead = overhead
    self.pieces = pieces
  }

  /// The roofline estimate in seconds: the longer of computing and moving, plus the overhead.
  public func seconds(on machine: MachineRates) -> Double {
    let share = Double(min(machine.threads, max(1, pieces))) / Double(machine.threads)
    let compute = operations / (machine.operationsPerSecond * efficiency * share)
    return max(compute, bytes / machine.bytesPerSecond) + overhead
  }
}
