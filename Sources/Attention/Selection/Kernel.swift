/// One way to solve the problems of an operator.
///
/// A kernel says of every problem whether it solves it, and at what cost. It promises the operator's
/// mathematics within the accuracy that the conformance cases ask for.
public protocol Kernel<Problem>: Sendable {
  associatedtype Problem: Sendable

  /// A stable name: device, then what sets the kernel apart, as `cpu.tiled`.
  var name: String { get }

  /// Why this kernel cannot solve `problem`; nil if it can.
  func objection(to problem: Problem) -> Objection?

  /// What solving `problem` needs. Asked only where there is no objection.
  func cost(of problem: Problem) -> Cost
}

extension Kernel {
  /// This kernel as the selector sees it, whatever operator it belongs to.
  var asKernel: any Kernel<Problem> { self }
}
