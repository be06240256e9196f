import AttentionTensors

/// One way to solve the problems of an operator.
///
/// A kernel says of every problem whether it solves it, and at what cost. It promises the operator's
/// mathematics within the accuracy that the conformance cases ask for.
public protocol Kernel<Problem>: Sendable {
  associatedtype Problem: Sendable

  /// A stable name: device, then what sets the kernel apart, as `cpu.tiled`.
  var name: String { get }

  /// Why this kernel cannot run on `device`; nil if it can. Without an answer of its own a kernel runs
  /// on the CPU.
  func objection(to device: Device) -> Objection?

  /// Why this kernel cannot solve `problem`; nil if it can.
  func objection(to problem: Problem) -> Objection?

  /// What solving `problem` needs. Asked only where there is no objection.
  func cost(of problem: Problem) -> Cost
}

extension Kernel {
  public func objection(to device: Device) -> Objection? {
    device == .cpu ? nil : Objection("\(device) asked for; it runs on the CPU")
  }

  /// This kernel as the selector sees it, whatever operator it belongs to.
  var asKernel: any Kernel<Problem> { self }
}
