import AttentionCUDA
import AttentionTensors

/// One way to compute an operator.
///
/// A kernel says of every problem whether it solves it, and at what cost. It promises the operator's
/// mathematics within the accuracy that the conformance cases ask for. ``Operator/register(_:)`` makes one from
/// outside of the package a candidate.
public protocol OperatorKernel<Op>: Sendable {
  associatedtype Op: Operator

  /// A stable name: the device, then what sets the kernel apart, such as `cpu.tiled`.
  var name: String { get }

  /// Why this kernel cannot run on `device`; nil if it can. By default a kernel runs on the CPU only.
  func objection(to device: Device) -> Objection?

  /// Why this kernel cannot solve `problem`; nil if it can.
  func objection(to problem: Op.Problem) -> Objection?

  /// What solving `problem` needs. Called only if there is no objection.
  func cost(of problem: Op.Problem) -> Cost

  /// The outputs of a call to which there is no objection.
  func forward(_ arguments: Op.Arguments) throws -> OperatorTensors<Op.Output>

  /// The gradients of a call to which there is no objection and whose problem needs them: one for each input
  /// whose gradient is wanted, in any floating-point dtype.
  ///
  /// - Parameters:
  ///   - arguments: those of the forward pass.
  ///   - outputs: the results of ``forward(_:)``, at least those in ``Operator/readBackward``.
  ///   - incoming: the gradients of the outputs, in their dtypes; a missing one is zero.
  func backward(
    _ arguments: Op.Arguments, _ outputs: OperatorTensors<Op.Output>,
    _ incoming: OperatorTensors<Op.Output>
  ) throws -> OperatorTensors<Op.Input>
}

extension OperatorKernel {
  public func objection(to device: Device) -> Objection? {
    device == .cpu ? nil : Objection("runs on the CPU, not on \(device)")
  }
}

/// The reason why a kernel cannot solve a problem, in words that name the obstacle: "computes no
/// gradients".
public struct Objection: Hashable, Sendable, Codable, CustomStringConvertible {
  public let reason: String

  public init(_ reason: String) { self.reason = reason }

  public var description: String { reason }
}

extension Objection {
  /// The lowest compute capability that kernels support: they use its conversions of half precision.
  private static let oldestCapability = 80

  /// Why a kernel for GPUs cannot run on `device`; nil if it can.
  static func unlessGPU(_ device: Device) -> Objection? {
    guard case .cuda(let index) = device else {
      return Objection("runs on a GPU, not on \(device)")
    }
    do {
      let limits = try CUDADevice.at(index).limits
      return limits.capability >= oldestCapability
        ? nil
        : Objection(
          "\(limits.name) has compute capability \(limits.capability / 10)."
            + "\(limits.capability % 10); it needs \(oldestCapability / 10).\(oldestCapability % 10)"
        )
    } catch {
      return Objection("\(error)")
    }
  }

  /// Why a kernel that counts tokens and blocks in 32 bits cannot run; nil if it can.
  static func beyondGrid(tokens: Int, blocks: Int) -> Objection? {
    let largest = Int(Int32.max)
    guard tokens <= largest, blocks <= largest else {
      return Objection("\(tokens) tokens in \(blocks) blocks; it takes at most \(largest) of each")
    }
    return nil
  }
}

/// What a kernel needs for a problem, and the estimate for a machine with given rates.
public struct Cost: Hashable, Sendable, Codable {
  /// Floating-point operations, a multiply-add counted as two.
  public var operations: Double
  /// Bytes read and written beyond the caches.
  public var bytes: Double
  /// Bytes of working memory besides inputs and outputs.
  public var extraMemory: Int
  /// The fraction of the machine's peak rate that the kernel's inner loop reaches when nothing else limits
  /// it, from 0 to 1.
  public var efficiency: Double
  /// Seconds that a call takes however small the problem is.
  public var overhead: Double
  /// The number of independent pieces of work; with fewer pieces than threads, threads are idle.
  public var pieces: Int
  /// What the estimate assumes beyond these figures.
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

  /// The roofline estimate in seconds: the longer of computation and memory traffic, plus the overhead.
  public func seconds(on machine: MachineRates) -> Double {
    let share = Double(min(machine.threads, max(1, pieces))) / Double(machine.threads)
    let compute = operations / (machine.operationsPerSecond * efficiency * share)
    return max(compute, bytes / machine.bytesPerSecond) + overhead
  }
}
