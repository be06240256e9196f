import AttentionTensors

/// The validated arguments of one gated scan, as kernels read them.
public struct GatedScanCall: CheckedCall {
  public internal(set) var problem: GatedScanProblem
  /// [b, t, d], detached; the last axis lies dense in memory.
  public let inputs: Tensor
  /// [b, t, d], as the inputs: in their dtype or float32.
  public let decay: Tensor
  /// [n, d] in row-major order; float32, or float64 with float64 inputs.
  public let initialState: Tensor?
  /// The sequences, one a state.
  public let sequences: TokenSequences

  /// Where the tensors are.
  var device: Device { problem.device }
  var hasTokens: Bool { problem.batch > 0 && problem.length > 0 }
  /// The dtype of states.
  package var stateDType: DType { problem.dtype == .float64 ? .float64 : .float32 }
  package var stateShape: Shape { [problem.sequences, problem.channels] }

  /// Checks the arguments of `gatedScan`.
  ///
  /// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)``
  package init(
    inputs: Tensor, decay: Tensor, initialState: Tensor?, cumulativeLengths: Tensor?,
    needsGradient: Bool
  ) throws {
    try Self.check(inputs, "inputs", "[batch, length, channels]") {
      $0.rank == 3 && $0.shape[2] > 0
    }
    try Self.check(decay, "decay", "\(inputs.shape) as the inputs are") {
      $0.shape == inputs.shape
    }
    for (tensor, name) in [(inputs, "inputs"), (decay, "decay")] {
      try Self.check(dtypeOf: tensor, name, "a floating-point dtype", \.isFloatingPoint)
    }
    let device = try Self.device(
      of: inputs, "inputs", with: [(decay, "decay"), (initialState, "initialState")])
    let (batch, length, channels) = (inputs.shape[0], inputs.shape[1], inputs.shape[2])
    sequences = try Self.sequences(cumulativeLengths, of: "inputs", batch: batch, length: length)
    try ProblemSize.check(
      inputs, "inputs", [max(batch, sequences.count), length, channels],
      "sequences, length and channels")
    if let initialState {
      let shape: Shape = [sequences.count, channels]
      try Self.check(initialState, "initialState", "\(shape)") { $0.shape == shape }
      try Self.check(
        dtypeOf: initialState, "initialState", "a floating-point dtype", \.isFloatingPoint)
    }
    let isDouble = inputs.dtype == .float64
    let decayDType = isDouble || decay.dtype == inputs.dtype ? inputs.dtype : .float32
    problem = GatedScanProblem(
      batch: batch, length: length, sequences: sequences.count,
      isPacked: cumulativeLengths != nil, channels: channels, dtype: inputs.dtype,
      decayDType: decayDType, hasInitialState: initialState != nil, needsGradient: needsGradient,
      device: device)
    self.inputs = try inputs.detached().withDenseRows()
    self.decay = try decay.detached().cast(to: decayDType).withDenseRows()
    self.initialState = try initialState.map {
      try $0.detached().cast(to: isDouble ? .float64 : .float32).contiguous()
    }
  }
}
