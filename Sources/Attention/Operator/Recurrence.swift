import AttentionTensors

/// The options of operators that have none.
public struct NoOptions: Hashable, Sendable {
  public init() {}
}

/// The tensors that an operator with a state computes.
public enum RecurrenceOutput: String, OperatorOutput {
  /// The output of each token, in the dtype of the inputs.
  case output
  /// The state of each sequence after its last token: float32, or float64 with float64 inputs.
  case finalState = "final_state"
  /// States between tokens that a kernel may keep for its backward pass.
  case checkpoints

  public var isResult: Bool { self != .checkpoints }
}

extension OperatorTensors where Key == RecurrenceOutput {
  /// What a kernel computes.
  public init(output: Tensor, finalState: Tensor, checkpoints: Tensor? = nil) {
    self = [.output: output, .finalState: finalState, .checkpoints: checkpoints]
  }

  /// The outputs that every kernel computes.
  public var output: Tensor { self[.output]! }
  public var finalState: Tensor { self[.finalState]! }
}

extension OperatorResults where Op.Output == RecurrenceOutput {
  init(output: Tensor, finalState: Tensor, explanation: Explanation) {
    self.init(
      outputs: OperatorTensors(output: output, finalState: finalState), explanation: explanation)
  }

  /// The output of each token, in the dtype of the inputs.
  public var output: Tensor { self[.output] }
  /// The state of each sequence after its last token: float32, or float64 with float64 inputs. That of an
  /// empty sequence is its initial state.
  public var finalState: Tensor { self[.finalState] }
}
