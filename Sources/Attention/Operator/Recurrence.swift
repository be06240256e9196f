import AttentionTensors

/// What a call says beside its tensors, where there is nothing.
public struct NoOptions: Hashable, Sendable {
  public init() {}
}

/// The tensors that an operator with a state computes.
public enum RecurrenceOutput: String, OperatorOutput {
  /// Of each token, in the dtype of the inputs.
  case output
  /// Of each sequence, after its last token: float32, or float64 with float64 inputs.
  case finalState = "final_state"
  /// States between tokens that a kernel keeps for its backward pass, if it does.
  case checkpoints

  public var isResult: Bool { self != .checkpoints }
}

extension OperatorTensors where Key == RecurrenceOutput {
  /// What a kernel computes.
  public init(output: Tensor, finalState: Tensor, checkpoints: Tensor? = nil) {
    self = [.output: output, .finalState: finalState, .checkpoints: checkpoints]
  }

  /// Those that every kernel computes.
  public var output: Tensor { self[.output]! }
  public var finalState: Tensor { self[.finalState]! }
}

extension OperatorResults where Op.Output == RecurrenceOutput {
  init(output: Tensor, finalState: Tensor, explanation: Explanation) {
    self.init(
      outputs: OperatorTensors(output: output, finalState: finalState), explanation: explanation)
  }

  /// Of each token, in the dtype of the inputs.
  public var output: Tensor { self[.output] }
  /// The state after the last token of each sequence: float32, or float64 where the inputs are float64. An empty
  /// sequence ends in its initial state.
  public var finalState: Tensor { self[.finalState] }
}
