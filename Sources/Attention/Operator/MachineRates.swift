import AttentionCUDA
import AttentionTensors

/// The peak rates of a machine, for estimates.
///
/// The rates are nominal, of the instruction set and all processors, neither measured nor those of the
/// threads in use: so the same problem gets the same kernel in every run, and the same bits.
public struct MachineRates: Hashable, Sendable, Codable {
  /// Float32 operations of all processors together, a multiply-add counted as two.
  public var operationsPerSecond: Double
  /// Memory bandwidth of all processors together.
  public var bytesPerSecond: Double
  /// Threads that run at the same time: the number of processors.
  public var threads: Int

  public init(operationsPerSecond: Double, bytesPerSecond: Double, threads: Int) {
    self.operationsPerSecond = operationsPerSecond
    self.bytesPerSecond = bytesPerSecond
    self.threads = threads
  }

  /// The nominal rates of this machine's processors with the current instruction set.
  public static var current: MachineRates {
    let threads = Threads.processors
    return MachineRates(
      operationsPerSecond: nominalClock * InstructionSet.current.operationsPerCycle
        * Double(threads),
      bytesPerSecond: nominalBytesPerThread * Double(threads), threads: threads)
  }

  /// The nominal rates of `device`, those of half precision on a GPU. If the device cannot be queried, no
  /// kernel runs on it, and the rates are those of the processors.
  static func nominal(of device: Device) -> MachineRates {
    guard case .cuda(let index) = device, let limits = try? CUDADevice.at(index).limits else {
      return current
    }
    return MachineRates(
      operationsPerSecond: limits.halfOperationsPerSecond,
      bytesPerSecond: limits.memoryBytesPerSecond, threads: limits.multiprocessors)
  }

  private static let nominalClock = 3.0e9
  private static let nominalBytesPerThread = 10.0e9
}

extension InstructionSet {
  /// Float32 operations per cycle and core: two for each lane of the multiply-adds issued per cycle.
  var operationsPerCycle: Double {
    switch self {
    case .portable: 8
    case .avx2, .avx512, .avx512bf16, .neon: 32
    }
  }
}

/// When results are written past the caches.
enum PastCaches {
  /// Results of so many bytes are gone from the caches before anybody reads them: bringing their old
  /// content there first would be in vain.
  static let leastBytes = 16 << 20

  /// What the C loops take: 1 for results that go past the caches.
  static func flag(bytes: Int) -> Int32 { bytes >= leastBytes ? 1 : 0 }
}
