import AttentionTensors

/// The validated arguments of one selective scan, as kernels read them: all of float64 where the
/// inputs are.
public struct SelectiveScanCall: CheckedCall {
  public internal(set) var problem: SelectiveScanProblem
  /// [b, t, d], detached; the last axis lies dense in memory.
  public let inputs: Tensor
  /// [b, t, d], as the inputs, in a dtype of its own.
  public let step: Tensor
  /// [d, s] in row-major order, float32.
  public let stateMatrix: Tensor
  /// [b, t, s] in row-major order, float32.
  public let inputMatrix: Tensor
  /// [b, t, s] in row-major order, float32.
  public let outputMatrix: Tensor
  /// [d], float32.
  public let skip: Tensor?
  /// [d], float32.
  public let stepBias: Tensor?
  /// [n, d, s] in row-major order, float32.
  public let initialState: Tensor?
  /// The sequences, one a vector of states.
  public let sequences: TokenSequences

  /// Where the tensors are.
  var device: Device { problem.device }
  var hasTokens: Bool { problem.batch > 0 && problem.length > 0 }
  /// The dtype of states.
  var stateDType: DType { problem.dtype == .float64 ? .float64 : .float32 }
  var stateShape: Shape { [problem.sequences, problem.channels, problem.states] }

  /// Checks the arguments of `selectiveScan`.
  ///
  /// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)``
  init(
    inputs: Tensor, step: Tensor, stateMatrix: Tensor, inputMatrix: Tensor, outputMatrix: Tensor,
    skip: Tensor?, stepBias: Tensor?, appliesSoftplus: Bool, initialState: Tensor?,
    cumulativeLengths: Tensor?, needsGradient: Bool
  ) throws {
    try Self.check(inputs, "inputs", "[batch, length, channels]") {
      $0.rank == 3 && $0.shape[2] > 0
    }
    let (batch, length, channels) = (inputs.shape[0], inputs.shape[1], inputs.shape[2])
    try Self.check(step, "step", "\(inputs.shape) as the inputs are") { $0.shape == inputs.shape }
    try Self.check(stateMatrix, "stateMatrix", "[\(channels), states]") {
      $0.rank == 2 && $0.shape[0] == channels && $0.shape[1] > 0
    }
    let states = stateMatrix.shape[1]
    sequences = try Self.sequences(cumulativeLengths, of: "inputs", batch: batch, length: length)
    try ProblemSize.check(
      inputs, "inputs", [max(batch, sequences.count), length, channels, states],
      "sequences, length, channels and states")
    let shared: Shape = [batch, length, states]
    let perChannel: Shape = [channels]
    for (tensor, name, shape) in [
      (inputMatrix, "inputMatrix", shared), (outputMatrix, "outputMatrix", shared),
      (skip, "skip", perChannel), (stepBias, "stepBias", perChannel),
      (initialState, "initialState", [sequences.count, channels, states]),
    ] {
      guard let tensor else { continue }
      try Self.check(tensor, name, "\(shape)") { $0.shape == shape }
      try Self.check(dtypeOf: tensor, name, "a floating-point dtype", \.isFloatingPoint)
    }
    for (tensor, name) in [(inputs, "inputs"), (step, "step"), (stateMatrix, "stateMatrix")] {
      try Self.check(dtypeOf: tensor, name, "a floating-point dtype", \.isFloatingPoint)
    }
    let device = try Self.device(
      of: inputs, "inputs",
      with: [
        (step, "step"), (stateMatrix, "stateMatrix"), (inputMatrix, "inputMatrix"),
        (outputMatrix, "outputMatrix"), (skip, "skip"), (stepBias, "stepBias"),
        (initialState, "initialState"),
      ])
    let isDouble = inputs.dtype == .float64
    problem = SelectiveScanProblem(
      batch: batch, length: length, sequences: sequences.count,
      isPacked: cumulativeLengths != nil, channels: channels, states: states, dtype: inputs.dtype,
      hasSkip: skip != nil, hasStepBias: stepBias != nil, appliesSoftplus: appliesSoftplus,
      hasInitialState: initialState != nil, needsGradient: needsGradient, device: device)
    func readable(_ tensor: Tensor) throws -> Tensor {
      try tensor.detached().cast(to: isDouble ? .float64 : .float32).contiguous()
    }
    self.inputs = try inputs.detached().withDenseRows()
    let changesStep = isDouble || step.dtype == .float64
    self.step = try (changesStep ? readable(step) : step.detached().withDenseRows())
    self.stateMatrix = try readable(stateMatrix)
    self.inputMatrix = try readable(inputMatrix)
    self.outputMatrix = try readable(outputMatrix)
    self.skip = try skip.map(readable)
    self.stepBias = try stepBias.map(readable)
    self.initialState = try initialState.map(readable)
  }
}
