import AttentionOperators
import AttentionTensors

/// The inputs of a case of the selective scan.
struct SelectiveScanConformanceProblem: ConformanceProblem {
  private let settings: SelectiveScanCase
  /// The inputs that have gradients, by their command-line names.
  private var inputs: [String: Tensor]
  private var cumulativeLengths: Tensor?
  private let outputGradient: Tensor
  private let finalStateGradient: Tensor?

  var dtype: DType { settings.dtype }
  var reference: String { "cpu.reference" }
  var unfused: String? { nil }

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
    inputs = [
      "inputs": tokens, "step": step, "input_matrix": matrices[0], "output_matrix": matrices[1],
      "state_matrix": try draw.uniform("state_matrix", [d, s], from: -Double(s), to: -0.5),
    ]
    if settings.has(.forgetting) {
      let count = d * s
      let lowest = -Double(Float.greatestFiniteMagnitude)
      inputs["state_matrix"] = try .select(
        Tensor(draw.flags("forgetting", count: count, probability: 0.4), [d, s]),
        .select(
          Tensor(draw.flags("infinite", count: count, probability: 0.7), [d, s]),
          .full([], -.infinity), .full([], lowest)), inputs["state_matrix"]!)
    }
    if settings.has(.skip) { inputs["skip"] = try draw.normal("skip", [d]) }
    if settings.has(.stepBias) {
      // Without softplus the step must stay positive.
      inputs["step_bias"] =
        settings.has(.softplus)
        ? try draw.normal("step_bias", [d])
        : try draw.uniform("step_bias", [d], from: 0.01, to: 0.2)
    }
    if settings.has(.initialState) {
      inputs["initial_state"] = try draw.normal("initial_state", stateShape)
    }
    if settings.has(.packed) {
      cumulativeLengths = try draw.cumulativeLengths(total: t, sequences: packedSequences)
    }
    outputGradient = try draw.normal("output_gradient", [b, t, d], dtype: settings.dtype)
    finalStateGradient =
      settings.has(.finalStateGradient) ? try draw.normal("final_state_gradient", stateShape) : nil
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

  func kernels(needsGradient: Bool) throws -> [String] {
    try candidates(on: .cpu, needsGradient: needsGradient).filter { $0.objection == nil }
      .map(\.kernel)
  }

  func candidates(on device: Device, needsGradient: Bool) throws -> [Explanation.Candidate] {
    let inputs = try inputs.moved(to: device)
    return try SelectiveScan.explain(
      inputs: inputs["inputs"]!, step: inputs["step"]!, stateMatrix: inputs["state_matrix"]!,
      inputMatrix: inputs["input_matrix"]!, outputMatrix: inputs["output_matrix"]!,
      skip: inputs["skip"], stepBias: inputs["step_bias"],
      appliesSoftplus: settings.has(.softplus), initialState: inputs["initial_state"],
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
      let result = try selectiveScan(
        inputs: inputs["inputs"]!, step: inputs["step"]!, stateMatrix: inputs["state_matrix"]!,
        inputMatrix: inputs["input_matrix"]!, outputMatrix: inputs["output_matrix"]!,
        skip: inputs["skip"], stepBias: inputs["step_bias"],
        appliesSoftplus: settings.has(.softplus), initialState: inputs["initial_state"],
        cumulativeLengths: cumulativeLengths, kernel: kernel)
      return (result.output, result.finalState)
    }
  }

  /// No terms of a linear sum cancel by construction.
  func termSizes(reference: [String: Tensor]) throws -> [String: Double] { [:] }

  func exactViolation(_ results: [String: Tensor], reference: [String: Tensor]) throws -> String? {
    nil
  }
}
