import CUDA
import Tensors

/// What a machine can do at most, for estimates.
///
/// The rates are nominal ones of the instruction set and thread count, not measurements: the same
/// problem gets the same kernel in every run.
public struct MachineRates: Hashable, Sendable, Codable {
  /// Float32 multiply-adds counted as two, all threads together.
  public var operationsPerSecond: Double
  /// Memory bandwidth, all threads together.
  public var bytesPerSecond: Double
  public var threads: Int

  public init(operationsPerSecond: Double, bytesPerSecond: Double, threads: Int) {
    self.operationsPerSecond = operationsPerSecond
    self.bytesPerSecond = bytesPerSecond
    self.threads = threads
  }

  /// The nominal rates of this processor with the current instruction set and threads.
  public static var current: MachineRates {
    let threads = Threads.count
    return MachineRates(
      operationsPerSecond: nominalClock * InstructionSet.current.operationsPerCycle
        * Double(threads),
      bytesPerSecond: nominalBytesPerThread * Double(threads), threads: threads)
  }

  /// The nominal rates of `device`, of half precision on a GPU. Where the device cannot be asked, no
  /// kernel runs on it, and the rates are this processor's.
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
  /// Float32 operations a cycle and core: two for each lane of the multiply-adds that start in it.
  var operationsPerCycle: Double {
    switch self {
    case .portable: 8
    case .avx2, .avx512, .avx512bf16, .neon: 32
    }
  }
}
