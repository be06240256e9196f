import AttentionOperators
import AttentionTensors

/// The inputs of a case of the selective scan.
struct SelectiveScanConformanceProblem: OperatorConformanceProblem {
  private let settings: SelectiveScanCase
  let run: OperatorRun<SelectiveScan>

  var dtype: DType { settings.dtype }

  init(_ settings: SelectiveScanCase, _ draw: Draw) throws {
    self.settings = settings
    let packedSequences = 5
    let (b, t, d, s) = (settings.batch, settings.length, settings.channels, settings.states)
    let stateShape: Shape = [settings.has(.packed) ? packedSequences : b, d, s]
    var tokens = try draw.normal("inputs", [b, t, d], dtype: settings.dtype)
    var step = try Self.step([b, t, d], settings, draw).cast(to: settings.dtype)
    if settings.has(.forgetting), settings.has(.softplus) {
      // Steps of no time, in which even an infinite rate has no effect.
      let isNone = try Tensor(
        draw.flags("no time", count: b * t * d, probability: 0.2), [b, t, d])
      step = try .select(isNone, .full([], -.infinity, dtype: step.dtype), step)
    }
    var matrices = try ["input_matrix", "output_matrix"].map { try draw.normal($0, [b, t, s]) }
    if settings.has(.halfMatrices) {
      matrices = try matrices.map { try $0.cast(to: settings.dtype) }
    }
    if settings.has(.strided) {
      tokens = try tokens.restrided(1, 2)
      step = try step.restrided(0, 1)
      matrices = try matrices.map { try $0.restrided(1, 2) }
    } else if settings.has(.wide) {
      tokens = try tokens.withGaps()
      step = try step.withGaps()
      matrices = try matrices.map { try $0.withGaps() }
    }
    var inputs: OperatorTensors<SelectiveScanInput> = [
      .inputs: tokens, .step: step, .inputMatrix: matrices[0], .outputMatrix: matrices[1],
      .stateMatrix: try draw.uniform("state_matrix", [d, s], from: -Double(s), to: -0.5),
    ]
    if settings.has(.forgetting) {
      let count = d * s
      let lowest = -Double(Float.greatestFiniteMagnitude)
      inputs[.stateMatrix] = try .select(
        Tensor(draw.flags("forgetting", count: count, probability: 0.4), [d, s]),
        .select(
          Tensor(draw.flags("infinite", count: count, probability: 0.7), [d, s]),
          .full([], -.infinity), .full([], lowest)), inputs[.stateMatrix]!)
    }
    if settings.has(.skip) { inputs[.skip] = try draw.normal("skip", [d]) }
    if settings.has(.stepBias) {
      // Without softplus the step must stay above 0.
      inputs[.stepBias] =
        settings.has(.softplus)
        ? try draw.normal("step_bias", [d])
        : try draw.uniform("step_bias", [d], from: 0.01, to: 0.2)
    }
    if settings.has(.initialState) {
      inputs[.initialState] = try draw.normal("initial_state", stateShape)
    }
    if settings.has(.packed) {
      inputs[.cumulativeLengths] = try draw.cumulativeLengths(total: t, sequences: packedSequences)
    }
    let outputGradient = try draw.normal("output_gradient", [b, t, d], dtype: settings.dtype)
    let finalStateGradient =
      settings.has(.finalStateGradient) ? try draw.normal("final_state_gradient", stateShape) : nil
    run = OperatorRun(
      inputs: inputs, options: SelectiveScanOptions(appliesSoftplus: settings.has(.softplus)),
      incoming: [.output: outputGradient, .finalState: finalStateGradient])
  }

  /// Steps like those of trained models, 0.001 to 0.1; long ones forget most states at once.
  private static func step(_ shape: Shape, _ settings: SelectiveScanCase, _ draw: Draw) throws
    -> Tensor
  {
    if settings.has(.softplus) {
      let center = settings.has(.longSteps) ? 2.0 : -4.0
      return try draw.normal("step", shape) + center
    }
    let exponents =
      settings.has(.longSteps)
      ? try draw.uniform("step", shape, from: -3, to: 3)
      : try draw.uniform("step", shape, from: -7, to: -2.3)
    return try exponents.exponential()
  }
}
