import AttentionOperators
import AttentionTensors

/// The inputs of a case of linear attention.
struct LinearConformanceProblem: OperatorConformanceProblem {
  private let settings: LinearCase
  private(set) var run: OperatorRun<LinearAttention>

  var dtype: DType { settings.dtype }

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
    var inputs: OperatorTensors<LinearInput> = [.queries: queries, .keys: keys, .values: values]
    if settings.has(.bonus) { inputs[.bonus] = try draw.normal("bonus", [hv, k]) }
    if settings.has(.delta) {
      inputs[.beta] = try draw.uniform("beta", [b, t, hv], from: 0, to: 2)
    }
    let updateKeys: [(LinearFeature, LinearInput)] = [
      (.readKeys, .readKeys), (.lowRank, .lowRankA), (.lowRank, .lowRankB),
    ]
    for (feature, input) in updateKeys where settings.has(feature) {
      inputs[input] = try draw.normal(
        input.rawValue, [b, t, hv, k], size: 0.7 * unit, dtype: settings.dtype)
    }
    if settings.has(.initialState) {
      inputs[.initialState] = try draw.normal("initial_state", stateShape)
    }
    if settings.has(.packed) {
      inputs[.cumulativeLengths] = try draw.cumulativeLengths(total: t, sequences: packedSequences)
    }
    var outputGradient = try draw.normal("output_gradient", [b, t, hv, v], dtype: settings.dtype)
    let finalStateGradient =
      settings.has(.finalStateGradient) ? try draw.normal("final_state_gradient", stateShape) : nil
    let decayShape: Shape? =
      if settings.has(.decayHeads) { [hv] } else if settings.has(.decayTokens) {
        [b, t, hv]
      } else if settings.has(.decayChannels) { [b, t, hv, k] } else { nil }
    if let decayShape {
      inputs[.decay] = try draw.decay(
        decayShape, isStrong: settings.has(.strong),
        strongest: settings.has(.forgetting) ? -.infinity : -20)
    }
    if settings.has(.garbage) {
      let garbage = try OtherSequence(b, t, inputs[.cumulativeLengths])
      inputs = try inputs.mapTensors { try garbage.planted(in: $1) }
      outputGradient = try garbage.planted(in: outputGradient)
    }
    run = OperatorRun(
      inputs: inputs,
      options: LinearOptions(
        scale: settings.has(.scaleNumber) ? 0.3 : nil,
        normalizesQueriesAndKeys: settings.has(.normalized)),
      incoming: [.output: outputGradient, .finalState: finalStateGradient])
  }

  /// The gradient of a decay is a sum whose terms cancel by chance, which no bound relative to the result describes
  /// where few elements are compared: a decay per head sums over tokens, a decay per token over channels.
  ///
  /// The rounding error of a token's query or key affects all tokens that it influences, so the sizes of the terms
  /// are added over the tokens. Those of channels are rounded independently, so their squares are.
  func termSizes(reference: [String: Tensor]) throws -> [String: Double] {
    let tokens: Shape = [settings.batch, settings.length, settings.valueHeads]
    guard let decay = run.inputs[.decay] else { return [:] }
    if settings.has(.decayHeads) {
      let terms = try decayGradient(of: decay.expanded(to: tokens))
      let total = try terms.absolute().sum([1]).squared().sum().item()
      return ["decay_gradient": (total / Double(settings.valueHeads)).squareRoot()]
    }
    guard settings.has(.decayTokens), tokens.elementCount > 0, dtype.isHalfPrecision else {
      return [:]
    }
    let channels = Shape(Array(tokens) + [settings.keyDimension])
    let terms = try decayGradient(of: decay.unsqueezed(-1).expanded(to: channels))
    let total = try terms.squared().sum().item()
    return ["decay_gradient": (total / Double(tokens.elementCount)).squareRoot()]
  }

  /// The reference's gradient of `decay`, which stands for the decay of the inputs.
  private func decayGradient(of decay: Tensor) throws -> Tensor {
    var each = self
    each.run.inputs[.decay] = try decay.contiguous()
    let results = try each.results(kernel: reference, isExact: true, gradients: true)
    return results["decay_gradient"]!
  }
}
