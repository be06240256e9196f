import AttentionOperators
import AttentionTensors

/// The inputs of a case of linear attention.
struct LinearConformanceProblem: ConformanceProblem {
  private let settings: LinearCase
  /// The inputs that have gradients, by their command-line names.
  private var inputs: [String: Tensor]
  private var cumulativeLengths: Tensor?
  private var outputGradient: Tensor
  private let finalStateGradient: Tensor?

  var dtype: DType { settings.dtype }
  var reference: String { "cpu.reference" }
  var unfused: String? { nil }

  init(_ settings: LinearCase, _ draw: Draw) throws {
    self.settings = settings
    let (b, t, h, hv) = (settings.batch, settings.length, settings.heads, settings.valueHeads)
    let (k, v) = (settings.keyDimension, settings.valueDimension)
    let packedSequences = 5
    let stateShape: Shape = [settings.has(.packed) ? packedSequences : b, hv, k, v]
    var queries = try draw.normal("queries", [b, t, h, k], dtype: settings.dtype)
    // Erasing with keys of large norm amplifies the state; trained keys have small norms.
    let unit = 1 / Double(k).squareRoot()
    var keys = try draw.normal(
      "keys", [b, t, h, k], size: settings.features.contains(where: \.isErasing) ? unit : 1,
      dtype: settings.dtype)
    var values = try draw.normal("values", [b, t, hv, v], dtype: settings.dtype)
    if settings.has(.strided) {
      queries = try queries.restrided(1, 2)
      keys = try keys.restrided(1, 3)
      values = try values.restrided(1, 2)
    }
    inputs = ["queries": queries, "keys": keys, "values": values]
    if settings.has(.bonus) { inputs["bonus"] = try draw.normal("bonus", [hv, k]) }
    if settings.has(.delta) {
      inputs["beta"] = try draw.uniform("beta", [b, t, hv], from: 0, to: 2)
    }
    let updateKeys: [(LinearFeature, String)] = [
      (.readKeys, "read_keys"), (.lowRank, "low_rank_a"), (.lowRank, "low_rank_b"),
    ]
    for (feature, name) in updateKeys where settings.has(feature) {
      inputs[name] = try draw.normal(name, [b, t, hv, k], size: 0.7 * unit, dtype: settings.dtype)
    }
    if settings.has(.initialState) {
      inputs["initial_state"] = try draw.normal("initial_state", stateShape)
    }
    if settings.has(.packed) {
      cumulativeLengths = try draw.cumulativeLengths(total: t, sequences: packedSequences)
    }
    outputGradient = try draw.normal("output_gradient", [b, t, hv, v], dtype: settings.dtype)
    finalStateGradient =
      settings.has(.finalStateGradient) ? try draw.normal("final_state_gradient", stateShape) : nil
    let decayShape: Shape? =
      if settings.has(.decayHeads) { [hv] } else if settings.has(.decayTokens) {
        [b, t, hv]
      } else if settings.has(.decayChannels) { [b, t, hv, k] } else { nil }
    if let decayShape {
      inputs["decay"] = try draw.decay(
        decayShape, isStrong: settings.has(.strong),
        strongest: settings.has(.forgetting) ? -.infinity : -20)
    }
    if settings.has(.garbage) {
      let garbage = try OtherSequence(b, t, cumulativeLengths)
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
    return try LinearAttention.explain(
      queries: inputs["queries"]!, keys: inputs["keys"]!, values: inputs["values"]!,
      decay: inputs["decay"], update: update(inputs), scale: scale,
      normalizesQueriesAndKeys: settings.has(.normalized),
      initialState: inputs["initial_state"], cumulativeLengths: cumulativeLengths,
      needsGradient: needsGradient
    ).candidates
  }

  private func update(_ inputs: [String: Tensor]) -> LinearUpdate {
    if let bonus = inputs["bonus"] { return .additiveBefore(bonus: bonus) }
    if let beta = inputs["beta"] { return .delta(beta: beta) }
    if let readKeys = inputs["read_keys"] { return .generalizedDelta(readKeys: readKeys) }
    if let a = inputs["low_rank_a"], let b = inputs["low_rank_b"] { return .lowRank(a: a, b: b) }
    return .additive
  }

  private var scale: Double? { settings.has(.scaleNumber) ? 0.3 : nil }

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
      let result = try linearAttention(
        queries: inputs["queries"]!, keys: inputs["keys"]!, values: inputs["values"]!,
        decay: inputs["decay"], update: update(inputs), scale: scale,
        normalizesQueriesAndKeys: settings.has(.normalized),
        initialState: inputs["initial_state"], cumulativeLengths: cumulativeLengths,
        kernel: kernel)
      return (result.output, result.finalState)
    }
  }

  /// No terms of a linear sum cancel by construction, except in the gradient of a decay per head, one sum over all
  /// tokens. The rounding error of a token's query or key affects all tokens that it influences, so the sizes of
  /// the terms are added over the tokens.
  func termSizes(reference: [String: Tensor]) throws -> [String: Double] {
    guard settings.has(.decayHeads), let decay = inputs["decay"] else { return [:] }
    var each = self
    each.inputs["decay"] = try decay.expanded(
      to: [settings.batch, settings.length, settings.valueHeads]
    ).contiguous()
    let terms = try each.results(kernel: self.reference, isExact: true, gradients: true)
    guard let gradient = terms["decay_gradient"] else { return [:] }
    let passing = try gradient.absolute().sum([1])
    let total = try (passing * passing).sum().item()
    return ["decay_gradient": (total / Double(settings.valueHeads)).squareRoot()]
  }

  func exactViolation(_ results: [String: Tensor], reference: [String: Tensor]) throws -> String? {
    nil
  }
}
