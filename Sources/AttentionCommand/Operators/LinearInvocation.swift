import AttentionOperators
import AttentionTensors

/// Linear attention as the command line describes it.
struct LinearInvocation: OperatorInvocation {
  private let queries: Tensor
  private let keys: Tensor
  private let values: Tensor
  private let decay: Tensor?
  private let form: LinearForm
  private let scale: Double?
  private let normalizesQueriesAndKeys: Bool
  private let initialState: Tensor?
  private let initialValueState: Tensor?
  private let cumulativeLengths: Tensor?
  private let kernel: String?
  private let device: Device

  init(_ inputs: NamedTensors, _ flags: OperatorFlags) throws {
    let first = try inputs.required("queries")
    let dtype = flags.dtype ?? first.dtype
    queries = try first.cast(to: dtype)
    keys = try inputs.required("keys").cast(to: dtype)
    values = try inputs.required("values").cast(to: dtype)
    decay = inputs["decay"]
    form = try LinearForm(inputs, flags)
    scale = flags.scale
    normalizesQueriesAndKeys = flags.normalizesQueriesAndKeys
    initialState = inputs["initial_state"]
    initialValueState = inputs["initial_value_state"]
    cumulativeLengths = inputs["cumulative_lengths"]
    kernel = flags.kernel
    device = try OperatorFlags.device(named: flags.device)
    if case .slots = form { return }
    guard initialValueState == nil else {
      throw CommandError("initial_value_state is given without slots")
    }
  }

  func run() throws -> OperatorOutputs {
    switch form {
    case .attention(let update):
      return outputs(
        try linearAttention(
          queries: queries, keys: keys, values: values, decay: decay, update: update,
          scale: scale, normalizesQueriesAndKeys: normalizesQueriesAndKeys,
          initialState: initialState, cumulativeLengths: cumulativeLengths, kernel: kernel))
    case .normalized:
      return outputs(
        try normalizedLinearAttention(
          queries: queries, keys: keys, values: values, decay: decay, initialState: initialState,
          cumulativeLengths: cumulativeLengths, kernel: kernel))
    case .slots(let writes):
      let result = try gatedSlotAttention(
        queries: queries, keys: keys, values: values, decay: slotDecay(),
        writes: writes.cast(to: queries.dtype), scale: scale, initialKeyState: initialState,
        initialValueState: initialValueState, cumulativeLengths: cumulativeLengths,
        kernel: kernel)
      return OperatorOutputs(
        tensors: [
          "output": result.output, "final_state": result.finalKeyState,
          "final_value_state": result.finalValueState,
        ], explanation: result.explanation)
    case .levels(let levels):
      let output = try logLinearAttention(
        queries: queries, keys: keys, values: values, decay: decay, levels: levels, scale: scale,
        kernel: kernel)
      return OperatorOutputs(
        tensors: ["output": output], explanation: try explain(needsGradient: output.isTracked))
    }
  }

  private func outputs(_ result: LinearAttentionResult) -> OperatorOutputs {
    OperatorOutputs(
      tensors: ["output": result.output, "final_state": result.finalState],
      explanation: result.explanation)
  }

  private func slotDecay() throws -> Tensor {
    guard let decay else { throw CommandError("decay [b,t,h,m] is missing beside slots") }
    return decay
  }

  /// The verdict on the linear attention that the form is computed by; of slots, on the reading of
  /// the values.
  func explain(needsGradient: Bool) throws -> Explanation {
    var update = LinearUpdate.additive
    var values = values
    switch form {
    case .attention(let given): update = given
    case .normalized where values.rank > 0:
      // The weights' sums are one more column.
      let width = values.shape[values.rank - 1] + 1
      values = try .placeholder(
        Shape(values.shape.dimensions.dropLast() + [width]), dtype: values.dtype,
        device: values.device)
    case .normalized: break
    case .slots(let writes):
      return try GatedSlotAttention.explain(
        queries: queries, keys: keys, values: values, decay: slotDecay(),
        writes: writes.cast(to: queries.dtype), scale: scale, initialKeyState: initialState,
        initialValueState: initialValueState, cumulativeLengths: cumulativeLengths,
        kernel: kernel, needsGradient: needsGradient, device: device)
    case .levels(let levels):
      return try LogLinearAttention.explain(
        queries: queries, keys: keys, values: values, decay: decay, levels: levels, scale: scale,
        kernel: kernel, needsGradient: needsGradient, device: device)
    }
    return try LinearAttention.explain(
      queries: queries, keys: keys, values: values, decay: decay, update: update, scale: scale,
      normalizesQueriesAndKeys: normalizesQueriesAndKeys, initialState: initialState,
      cumulativeLengths: cumulativeLengths, kernel: kernel, needsGradient: needsGradient,
      device: device)
  }
}
