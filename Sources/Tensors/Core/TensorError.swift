import AttentionCUDA

/// An invalid call of the tensor library, or a refusal by the machine.
public enum TensorError: Error, Equatable, CustomStringConvertible {
  /// An invalid argument: its name, what it was and what it must be.
  case invalidArgument(_ name: String, was: String, mustBe: String)
  /// A file could not be read or written, or does not follow its format.
  case file(path: String, reason: String)
  /// The machine has no memory for a tensor of this many bytes.
  case outOfMemory(requestedBytes: Int, heldBytes: Int)
  /// The gradient of this operation comes from a fused kernel, which has no derivative.
  case noSecondDerivative(operation: String)

  public var description: String {
    switch self {
    case .invalidArgument(let name, let was, let mustBe):
      return "\(name.shown) is \(was.shown); it must be \(mustBe.shown)"
    case .file(let path, let reason):
      return "\(path.shown): \(reason.shown)"
    case .outOfMemory(let requestedBytes, let heldBytes):
      return "out of memory: \(Quantity.bytes(requestedBytes)) requested, "
        + "\(Quantity.bytes(heldBytes)) held; there is \(Quantity.bytes(MachineMemory.bytes))"
    case .noSecondDerivative(let operation):
      return "\(operation) has no second derivative: a fused kernel computes its gradients"
    }
  }
}
