import AttentionCUDA
import AttentionTensors

/// One way to compute an operator.
///
/// A kernel says of every problem whether it solves it, and at what cost. It promises the operator's
/// mathematics within the accuracy that the conformance cases ask for. ``Operator/register(_:)`` makes one from
/// outside of the package a candidate.
public protocol OperatorKernel<Op>: Sendable {
  associatedtype Op: Operator

  /// A stable name: device, then what sets the kernel apart, as `cpu.tiled`.
  var name: String { get }

  /// Why this kernel cannot run on `device`; nil if it can. Without an answer of its own a kernel runs
  /// on the CPU.
  func objection(to device: Device) -> Objection?

  /// Why this kernel cannot solve `problem`; nil if it can.
  func objection(to problem: Op.Problem) -> Objection?

  /// What solving `problem` needs. Asked only where there is no objection.
  func cost(of problem: Op.Problem) -> Cost

  /// The outputs of a call to which there is no objection.
  func forward(_ arguments: Op.Arguments) throws -> OperatorTensors<Op.Output>

  /// The gradients of a call to which there is no objection, where its problem asks for gradients: one for each
  /// input that is wanted, in any floating-point dtype.
  ///
  /// - Parameters:
  ///   - arguments: those of the forward pass.
  ///   - outputs: what ``forward(_:)`` gave; of a caller with a tape of his own, those that are read backward.
  ///   - incoming: the gradients of the outputs, in their dtypes; one that is missing is zero.
  func backward(
    _ arguments: Op.Arguments, _ outputs: OperatorTensors<Op.Output>,
    _ incoming: OperatorTensors<Op.Output>
  ) throws -> OperatorTensors<Op.Input>
}

extension OperatorKernel {
  public func objection(to device: Device) -> Objection? {
    device == .cpu ? nil : Objection("\(device) asked for; it runs on the CPU")
  }
}

/// The reason why a kernel cannot solve a problem, in words that name the fact which stands in the
/// way: "gradients asked for; this kernel runs forward only".
public struct Objection: Hashable, Sendable, Codable, CustomStringConvertible {
  public let reason: String

  public init(_ reason: String) { self.reason = reason }

  public var description: String { reason }
}

extension Objection {
  /// The compute capability from which on kernels run: half precision is converted by its instructions.
  private static let oldestCapability = 80

  /// Why a kernel for GPUs cannot run on `device`; nil if it can.
  static func unlessGPU(_ device: Device) -> Objection? {
    guard case .cuda(let index) = device else {
      return Objection("\(device) asked for; it runs on a GPU")
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
