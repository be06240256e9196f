// The names are those of the C header.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import AttentionOperators
import AttentionInterface
import AttentionTensors

@c @implementation
public func sa_attention_forward(_ call: UnsafePointer<sa_attention>!) -> sa_status {
  answering(call) { call in
    try CallSite.run(call) { site in
      let places = ExactPlaces(
        output: try site.requiredTarget(call.output, "output"),
        logSumExp: try site.target(call.log_sum_exp, "log_sum_exp"))
      let inputs = try call.inputs(
        at: site, needsGradient: call.needs_gradient != 0, places: places)
      let shapes = ExactShapes(inputs.problem)
      let output = try site.check(places.output, "output", shapes.output, inputs.problem.dtype)
      let logSumExp = try site.check(
        places.logSumExp, "log_sum_exp", shapes.logSumExp, .float32)
      let outputs = try ExactAttention.forward(inputs, kernel: call.kernelName)
      if let output { try outputs.output.write(to: output) }
      if let logSumExp { try outputs.logSumExp.write(to: logSumExp) }
    }
  }
}

@c @implementation
public func sa_attention_backward(_ call: UnsafePointer<sa_attention>!) -> sa_status {
  answering(call) { call in
    try CallSite.run(call) { site in
      let targets = try call.gradientTargets(at: site)
      let inputs = try call.inputs(
        at: site, needsGradient: true,
        places: ExactPlaces(
          queriesGradient: targets[0], keysGradient: targets[1], valuesGradient: targets[2]))
      let shapes = ExactShapes(inputs.problem)
      let gradients = try ExactAttention.backward(
        inputs,
        output: site.required(call.output, "output", shapes.output, inputs.problem.dtype),
        logSumExp: site.required(call.log_sum_exp, "log_sum_exp", shapes.logSumExp, .float32),
        outputGradient: site.optional(
          call.output_gradient, "output_gradient", shapes.output, inputs.problem.dtype),
        logSumExpGradient: site.optional(
          call.log_sum_exp_gradient, "log_sum_exp_gradient", shapes.logSumExp, .float32),
        kernel: call.kernelName)
      let all = [
        gradients.queries, gradients.keys, gradients.values, gradients.bias, gradients.scale,
        gradients.logitDecay, gradients.sinks,
      ]
      for (gradient, target) in zip(all, targets) {
        if let target { try gradient?.write(to: target) }
      }
    }
  }
}

@c @implementation
public func sa_attention_explain(
  _ call: UnsafePointer<sa_attention>!, _ text: UnsafeMutablePointer<CChar>!, _ capacity: Int,
  _ length: UnsafeMutablePointer<Int>!
) -> sa_status {
  answering(call) { call in
    let site = try CallSite.question(call)
    let inputs = try call.inputs(at: site, needsGradient: call.needs_gradient != 0)
    let verdict = try ExactAttention.explain(inputs.problem, kernel: call.kernelName)
    try give(ExplanationTable(verdict).text(), text, capacity, length)
  }
}

/// The shapes of what exact attention computes.
private struct ExactShapes {
  let output: Shape
  let logSumExp: Shape

  init(_ problem: ExactProblem) {
    output = [problem.batch, problem.queryLength, problem.heads, problem.valueDimension]
    logSumExp = [problem.batch, problem.heads, problem.queryLength]
  }
}

extension sa_attention {
  fileprivate func inputs(
    at site: CallSite, needsGradient: Bool, places: ExactPlaces = ExactPlaces()
  ) throws -> ExactInputs {
    let queries = try site.required(queries, "queries")
    let bias = try site.input(bias, "bias")
    let needsBiasGradient = needsGradient && (bias_gradient.is_present != 0 || site.isQuestion)
    return try ExactInputs(
      queries: queries, keys: site.required(keys, "keys"), values: site.required(values, "values"),
      similarity: similarity(at: site),
      mask: AttentionMask(
        isCausal: is_causal != 0, alignment: alignmentCase(), window: window(),
        keyMask: site.input(key_mask, "key_mask"),
        cumulativeLengths: site.cumulativeLengths(
          cumulative_lengths, length: queries.rank == 4 ? queries.shape[1] : 0)),
      terms: ScoreTerms(
        softcap: softcap == 0 ? nil : softcap, alibi: has_alibi == 0 ? nil : .standard,
        bias: needsBiasGradient ? bias?.tracked() : bias,
        logitDecay: site.input(logit_decay, "logit_decay"), sinks: site.input(sinks, "sinks")),
      allowsTF32: allows_tf32 != 0, device: site.device, needsGradient: needsGradient,
      places: places)
  }

  private func similarity(at site: CallSite) throws -> Similarity {
    let perHead = try site.input(head_scales, "head_scales")
    guard perHead == nil || has_scale == 0 else {
      throw AttentionError.invalidArgument(
        "has_scale", was: "\(has_scale)", mustBe: "0 where head_scales are given")
    }
    let scale = perHead.map { Scale.perHead($0) } ?? (has_scale == 0 ? nil : .number(scale))
    switch sa_similarity(UInt32(bitPattern: similarity)) {
    case SA_DOT_PRODUCT: return .dotProduct(scale: scale)
    case SA_COSINE:
      let (groups, normalizes) = (groups == 0 ? 1 : Int(groups), is_normalized == 0)
      guard let scale else { return .cosine(groups: groups, normalizes: normalizes) }
      return .cosine(scale: scale, groups: groups, normalizes: normalizes)
    default:
      throw AttentionError.invalidArgument(
        "similarity", was: "\(similarity)", mustBe: "one that sa_similarity lists")
    }
  }

  private func alignmentCase() throws -> Alignment {
    switch sa_alignment(UInt32(bitPattern: alignment)) {
    case SA_BOTTOM_RIGHT: return .bottomRight
    case SA_TOP_LEFT: return .topLeft
    default:
      throw AttentionError.invalidArgument(
        "alignment", was: "\(alignment)", mustBe: "one that sa_alignment lists")
    }
  }

  private func window() -> Window? {
    /// What a field has for a side without limit.
    let all: Int64 = -1
    guard has_window != 0 else { return nil }
    return Window(
      left: window_left == all ? nil : Int(window_left),
      right: window_right == all ? nil : Int(window_right))
  }

  /// Where the gradients are written, in the order in which ``sa_attention_backward(_:)`` has them.
  fileprivate func gradientTargets(at site: CallSite) throws -> [Tensor?] {
    try [
      (queries, queries_gradient, "queries"), (keys, keys_gradient, "keys"),
      (values, values_gradient, "values"), (bias, bias_gradient, "bias"),
      (head_scales, head_scales_gradient, "head_scales"),
      (logit_decay, logit_decay_gradient, "logit_decay"), (sinks, sinks_gradient, "sinks"),
    ].map { try site.target(gradientOf: $0, $1, $2) }
  }
}
