import AttentionOperators
import AttentionTensors

/// The inputs of a case of the gated scan.
struct ScanConformanceProblem: ConformanceProblem {
  private let settings: ScanCase
  /// The inputs that have gradients, by their command-line names.
  private var inputs: [String: Tensor]
  private var cumulativeLengths: Tensor?
  private var outputGradient: Tensor
  private let finalStateGradient: Tensor?

  var dtype: DType { settings.dtype }
  var reference: String { "cpu.reference" }
  var unfused: String? { nil }

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
    inputs = ["inputs": tokens, "decay": decay]
    if settings.has(.initialState) {
      inputs["initial_state"] = try draw.normal("initial_state", stateShape)
    }
    if settings.has(.packed) {
      cumulativeLengths = try draw.cumulativeLengths(
        total: settings.length, sequences: packedSequences)
    }
    outputGradient = try draw.normal("output_gradient", shape, dtype: settings.dtype)
    finalStateGradient =
      settings.has(.finalStateGradient) ? try draw.normal("final_state_gradient", stateShape) : nil
    if settings.has(.garbage) {
      let garbage = try OtherSequence(settings.batch, settings.length, cumulativeLengths)
      inputs = try inputs.mapValues(garbage.planted)
      outputGradient = try garbage.planted(in: outputGradient)
    }
  }

  func kernels(needsGradient: Bool) throws -> [String] {
    try candidates(on: .cpu, needsGradient: needsGradient).filter { $0.objection == nil }
      .map(\.kernel)
  }

  func candidates(on device: Device, needsGradient: Bool) throws -> [Explanation.Candidate] {
    let inputs = try inputs.moved(to: device)
    return try GatedScan.explain(
      inputs: inputs["inputs"]!, decay: inputs["decay"]!, initialState: inputs["initial_state"],
      cumulativeLengths: cumulativeLengths, needsGradient: needsGradient
    ).candidates
  }

  func results(kernel: String, isExact: Bool, gradients: Bool) throws -> [String: Tensor] {
    try results(kernel, on: .cpu, isExact: isExact, gradients: gradients)
  }

  func results(kernel: String, on device: Device, gradients: Bool) throws -> [String: Tensor] {
    try results(kernel, on: device, isExact: false, gradients: gradients)
  }

  private func results(_ kernel: String, on device: Device, isExact: Bool, gradients: Bool) throws
    -> [String: Tensor]
  {
    try inputs.results(
      isExact: isExact, on: device, gradients: gradients, outputGradient, finalStateGradient
    ) { inputs in
      let result = try gatedScan(
        inputs: inputs["inputs"]!, decay: inputs["decay"]!,
        initialState: inputs["initial_state"], cumulativeLengths: cumulativeLengths,
        kernel: kernel)
      return (result.output, result.finalState)
    }
  }

  /// No terms of a linear sum cancel by construction.
  func termSizes(reference: [String: Tensor]) throws -> [String: Double] { [:] }

  func exactViolation(_ results: [String: Tensor], reference: [String: Tensor]) throws -> String? {
    nil
  }
}
