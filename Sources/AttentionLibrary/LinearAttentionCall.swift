// The names are those of the C header.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import AttentionOperators
import AttentionInterface
import AttentionTensors

@c @implementation
public func sa_linear_attention_forward(
  _ call: UnsafePointer<sa_linear_attention>!
) -> sa_status {
  answering(call) { call in
    try CallSite.run(call) { site in
      var arguments = try call.arguments(at: site, needsGradient: call.needs_gradient != 0)
      let output = try site.requiredTarget(
        call.output, "output", arguments.outputShape, arguments.problem.dtype)
      let finalState = try site.target(
        call.final_state, "final_state", arguments.stateShape, arguments.stateDType)
      arguments.places = LinearPlaces(output: output, finalState: finalState)
      let outputs = try LinearAttention.forward(arguments, kernel: call.kernelName)
      try outputs.output.write(to: output)
      if let finalState { try outputs.finalState.write(to: finalState) }
    }
  }
}

@c @implementation
public func sa_linear_attention_backward(
  _ call: UnsafePointer<sa_linear_attention>!
) -> sa_status {
  answering(call) { call in
    try CallSite.run(call) { site in
      var arguments = try call.arguments(at: site, needsGradient: true)
      let targets = try call.gradientTargets(at: site)
      arguments.places = LinearPlaces(
        queriesGradient: targets[0], keysGradient: targets[1], valuesGradient: targets[2])
      arguments.wantsDecayGradient = targets[3] != nil
      let gradients = try LinearAttention.backward(
        arguments,
        outputGradient: site.optional(
          call.output_gradient, "output_gradient", arguments.outputShape, arguments.problem.dtype),
        finalStateGradient: site.optional(
          call.final_state_gradient, "final_state_gradient", arguments.stateShape,
          arguments.stateDType),
        kernel: call.kernelName)
      let all =
        [
          gradients.queries, gradients.keys, gradients.values, gradients.decay,
          gradients.initialState,
        ] + gradients.update
      for (gradient, target) in zip(all, targets) {
        if let target { try gradient?.folded(to: target.shape).write(to: target) }
      }
    }
  }
}

@c @implementation
public func sa_linear_attention_explain(
  _ call: UnsafePointer<sa_linear_attention>!, _ text: UnsafeMutablePointer<CChar>!,
  _ capacity: Int, _ length: UnsafeMutablePointer<Int>!
) -> sa_status {
  answering(call) { call in
    let site = try CallSite.question(call)
    let verdict = try LinearAttention.explain(
      call.arguments(at: site, needsGradient: call.needs_gradient != 0), on: site.device,
      kernel: call.kernelName)
    try give(ExplanationTable(verdict).text(), text, capacity, length)
  }
}

extension sa_linear_attention {
  /// The update that the tensors which are present ask for, and the tensors with the places of their
  /// gradients in the order of ``LinearUpdate/tensors``.
  private func update(at site: CallSite) throws -> LinearUpdate {
    let beta = try site.input(beta, "beta")
    let readKeys = try site.input(read_keys, "read_keys")
    let bonus = try site.input(bonus, "bonus")
    let a = try site.input(low_rank_a, "low_rank_a")
    let b = try site.input(low_rank_b, "low_rank_b")
    guard (a == nil) == (b == nil) else {
      throw AttentionError.invalidArgument(
        a == nil ? "low_rank_a" : "low_rank_b", was: "absent",
        mustBe: "present, as \(a == nil ? "low_rank_b" : "low_rank_a")")
    }
    let given = [
      ("beta", beta), ("read_keys", readKeys), ("bonus", bonus), ("low_rank_a", a),
    ].filter { $0.1 != nil }.map(\.0)
    guard given.count <= 1 else {
      throw AttentionError.invalidArgument(
        given[1], was: "present beside \(given[0])", mustBe: "absent: a call has one update")
    }
    if let beta { return .delta(beta: beta) }
    if let readKeys { return .generalizedDelta(readKeys: readKeys) }
    if let bonus { return .additiveBefore(bonus: bonus) }
    if let a, let b { return .lowRank(a: a, b: b) }
    return .additive
  }

  fileprivate func arguments(at site: CallSite, needsGradient: Bool) throws -> LinearCall {
    let queries = try site.required(queries, "queries")
    return try LinearCall(
      queries: queries, keys: site.required(keys, "keys"), values: site.required(values, "values"),
      decay: site.input(decay, "decay"), update: update(at: site),
      scale: has_scale == 0 ? nil : scale, normalizesQueriesAndKeys: normalizes != 0,
      initialState: site.input(initial_state, "initial_state"),
      cumulativeLengths: site.cumulativeLengths(
        cumulative_lengths, length: queries.rank == 4 ? queries.shape[1] : 0),
      needsGradient: needsGradient)
  }

  /// Where the gradients are written, in the order in which ``sa_linear_attention_backward(_:)`` has
  /// them: those of the update's tensors are the last.
  fileprivate func gradientTargets(at site: CallSite) throws -> [Tensor?] {
    let all = [
      (queries, queries_gradient, "queries"), (keys, keys_gradient, "keys"),
      (values, values_gradient, "values"), (decay, decay_gradient, "decay"),
      (initial_state, initial_state_gradient, "initial_state"),
    ]
    let ofUpdate = [
      (beta, beta_gradient, "beta"), (read_keys, read_keys_gradient, "read_keys"),
      (bonus, bonus_gradient, "bonus"), (low_rank_a, low_rank_a_gradient, "low_rank_a"),
      (low_rank_b, low_rank_b_gradient, "low_rank_b"),
    ].filter { $0.0.is_present != 0 || $0.1.is_present != 0 }
    return try (all + ofUpdate).map { try site.target(gradientOf: $0, $1, $2) }
  }
}
