import AttentionCUDA

/// What a caller of an operator got wrong, or why no kernel runs it.
public enum AttentionError: Error, Hashable, CustomStringConvertible {
  /// An argument has a value it cannot have: its name, what it was and what it must be.
  case invalidArgument(_ name: String, was: String, mustBe: String)
  /// No kernel of the operator has the requested name.
  case unknownKernel(_ name: String, known: [String])
  /// The requested kernel cannot solve the problem.
  case kernelObjects(_ kernel: String, Objection)
  /// Every kernel objects.
  case noKernel(Explanation)

  public var description: String {
    switch self {
    case .invalidArgument(let name, let was, let mustBe):
      "\(name.shown) is \(was.shown); it must be \(mustBe.shown)"
    case .unknownKernel(let name, let known):
      "kernel is \(name.shown); it must be one of \(known.joined(separator: ", "))"
    case .kernelObjects(let kernel, let objection): "kernel \(kernel.shown) objects: \(objection)"
    case .noKernel(let explanation): "\(explanation)"
    }
  }
}
