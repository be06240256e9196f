import AttentionCUDA

/// What a caller of the tensor library got wrong, or what the machine refused.
public enum TensorError: Error, Equatable, CustomStringConvertible {
  /// An argument has a value it cannot have: its name, what it was and what it must be.
  case invalidArgument(_ name: String, was: String, mustBe: String)
  /// A file could not be read or written, or its contents are not what its format asks for.
  case file(path: String, reason: String)
  /// The machine has no memory for a tensor of this many bytes.
  case outOfMemory(requestedBytes: Int, heldBytes: Int)
  /// Gradients of this operation come from a kernel of their own and cannot be differentiated once more.
  case noSecondDerivative(operation: String)

  public var description: String {
    switch self {
    case .invalidArgument(let name, let was, let mustBe):
      return "\(name.shown) is \(was.shown); it must be \(mustBe.shown)"
    case .file(let path, let reason):
      return "\(path.shown): \(reason.shown)"
    case .outOfMemory(let requestedBytes, let heldBytes):
      return "out of memory: \(Quantity.bytes(requestedBytes)) asked for, "
        + "\(Quantity.bytes(heldBytes)) held; there is \(Quantity.bytes(MachineMemory.bytes))"
    case .noSecondDerivative(let operation):
      return "\(operation) has no second derivative: a fused kernel computes its gradients"
    }
  }
}
