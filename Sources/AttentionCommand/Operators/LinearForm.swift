import AttentionOperators
import AttentionTensors

/// Functions over linear attention that tensors or flags of their own ask for.
enum LinearForm {
  /// Weights that sum to one.
  case normalized
  /// Gated slot attention, with how much each slot takes of a token.
  case slots(Tensor)
  /// Log-linear attention, with the weights of the buckets.
  case levels(Tensor)

  /// The tensors that they read beside those of linear attention.
  static let inputs = [
    InputName(
      "slots",
      InputFacts(
        "[b,t,h,m]",
        "gated slot attention: what m slots take of a token; decay [b,t,h,m], initial_state [n,h,m,k]"
      )
    ),
    InputName("initial_value_state", InputFacts("[n,h,m,v]", "with slots")),
    InputName(
      "levels",
      InputFacts(
        "[b,t,hv,levels]",
        "log-linear attention: the weights of a token's buckets; without initial_state")),
  ]

  /// Names that say how a token changes the state.
  private static let updates = ["beta", "read_keys", "low_rank_a", "low_rank_b", "bonus"]

  /// What is asked for; nil for linear attention itself.
  ///
  /// - Throws: ``CommandError`` if tensors and flags ask for two, or for what a form does not have.
  init?(_ inputs: NamedTensors, _ flags: OperatorFlags) throws {
    guard inputs["slots"] != nil || inputs["initial_value_state"] == nil else {
      throw CommandError("initial_value_state is given without slots")
    }
    var asked: [(name: String, form: LinearForm, excludes: [String])] = []
    if flags.normalizesWeights {
      asked.append(("--normalize-weights", .normalized, Self.updates))
    }
    if let slots = inputs["slots"] { asked.append(("slots", .slots(slots), Self.updates)) }
    if let levels = inputs["levels"] {
      asked.append(
        (
          "levels", .levels(levels),
          Self.updates + ["initial_state", "cumulative_lengths", "final_state_gradient"]
        ))
    }
    guard let first = asked.first else { return nil }
    var others = asked.dropFirst().map(\.name) + first.excludes.filter { inputs[$0] != nil }
    if flags.normalizesQueriesAndKeys { others.append("--l2norm") }
    if flags.normalizesWeights, flags.scale != nil { others.append("--scale") }
    guard others.isEmpty else {
      throw CommandError("\(first.name) does not go with \(others.joined(separator: " and "))")
    }
    self = first.form
  }

  func invocation(_ tensors: NamedTensors, _ flags: OperatorFlags, _ device: Device) throws
    -> any OperatorInvocation
  {
    let dtype = try flags.dtype ?? tensors.required("queries").dtype
    func operand(_ name: String) throws -> Tensor { try tensors.required(name).cast(to: dtype) }
    let (queries, keys, values) = (
      try operand("queries"), try operand("keys"), try operand("values")
    )
    let (decay, state) = (tensors["decay"], tensors["initial_state"])
    let lengths = tensors["cumulative_lengths"]
    switch self {
    case .normalized:
      return FormInvocation {
        OperatorOutputs(
          try normalizedLinearAttention(
            queries: queries, keys: keys, values: values, decay: decay, initialState: state,
            cumulativeLengths: lengths, kernel: flags.kernel))
      } explain: {
        var wide = values
        if values.rank > 0 {
          // The weights' sums are one more column.
          let width = values.shape[values.rank - 1] + 1
          wide = try .placeholder(
            Shape(values.shape.dimensions.dropLast() + [width]), dtype: values.dtype,
            device: values.device)
        }
        return try OperatorCall<LinearAttention>(
          queries: queries, keys: keys, values: wide, decay: decay, initialState: state,
          cumulativeLengths: lengths, kernel: flags.kernel
        ).explanation(on: device, needsGradient: $0)
      }
    case .slots(let writes):
      guard let decay else { throw CommandError("decay [b,t,h,m] is missing beside slots") }
      let call = try GatedSlotAttention(
        queries: queries, keys: keys, values: values, decay: decay, writes: writes.cast(to: dtype),
        scale: flags.scale, initialKeyState: state,
        initialValueState: tensors["initial_value_state"], cumulativeLengths: lengths,
        kernel: flags.kernel)
      return FormInvocation {
        let result = try call.run()
        return OperatorOutputs(
          tensors: [
            "output": result.output, "final_state": result.finalKeyState,
            "final_value_state": result.finalValueState,
          ], explanation: result.explanation)
      } explain: {
        try call.explanation(on: device, needsGradient: $0)
      }
    case .levels(let levels):
      let call = try LogLinearAttention(
        queries: queries, keys: keys, values: values, decay: decay, levels: levels,
        scale: flags.scale, kernel: flags.kernel)
      return FormInvocation {
        let output = try call.run()
        return OperatorOutputs(
          tensors: ["output": output],
          explanation: try call.explanation(on: device, needsGradient: output.isTracked))
      } explain: {
        try call.explanation(on: device, needsGradient: $0)
      }
    }
  }
}

/// A call of one of the forms.
private struct FormInvocation: OperatorInvocation {
  let body: () throws -> OperatorOutputs
  let explain: (_ needsGradient: Bool) throws -> Explanation

  init(
    _ body: @escaping () throws -> OperatorOutputs,
    explain: @escaping (_ needsGradient: Bool) throws -> Explanation
  ) {
    self.body = body
    self.explain = explain
  }

  func run() throws -> OperatorOutputs { try body() }

  func explain(needsGradient: Bool) throws -> Explanation { try explain(needsGradient) }
}
