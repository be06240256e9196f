import AttentionOperators
import AttentionTensors

/// The inputs of a case of the gated scan.
struct ScanConformanceProblem: OperatorConformanceProblem {
  private let settings: ScanCase
  let run: OperatorRun<GatedScan>

  var dtype: DType { settings.dtype }

  init(_ settings: ScanCase, _ draw: Draw) throws {
    self.settings = settings
    let packedSequences = 5
    let shape: Shape = [settings.batch, settings.length, settings.channels]
    let stateShape: Shape = [
      settings.has(.packed) ? packedSequences : settings.batch, settings.channels,
    ]
    var tokens = try draw.normal("inputs", shape, dtype: settings.dtype)
    var decay = try draw.decay(
      shape, isStrong: settings.has(.strong),
      strongest: settings.has(.forgetting) ? -.infinity : -20)
    if settings.has(.sameDType) { decay = try decay.cast(to: settings.dtype) }
    if settings.has(.strided) {
      tokens = try tokens.restrided(1, 2)
      decay = try decay.restrided(0, 1)
    } else if settings.has(.wide) {
      tokens = try tokens.withGaps()
      decay = try decay.withGaps()
    }
    var inputs: OperatorTensors<GatedScanInput> = [.inputs: tokens, .decay: decay]
    if settings.has(.initialState) {
      inputs[.initialState] = try draw.normal("initial_state", stateShape)
    }
    if settings.has(.packed) {
      inputs[.cumulativeLengths] = try draw.cumulativeLengths(
        total: settings.length, sequences: packedSequences)
    }
    var outputGradient = try draw.normal("output_gradient", shape, dtype: settings.dtype)
    let finalStateGradient =
      settings.has(.finalStateGradient) ? try draw.normal("final_state_gradient", stateShape) : nil
    if settings.has(.garbage) {
      let garbage = try OtherSequence(settings.batch, settings.length, inputs[.cumulativeLengths])
      inputs = try inputs.mapTensors { try garbage.planted(in: $1) }
      outputGradient = try garbage.planted(in: outputGradient)
    }
    run = OperatorRun(
      inputs: inputs, options: NoOptions(),
      incoming: [.output: outputGradient, .finalState: finalStateGradient])
  }
}
