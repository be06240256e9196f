import Attention
import Tensors

/// Linear attention as the command line describes it.
struct LinearInvocation: OperatorInvocation {
  private let queries: Tensor
  private let keys: Tensor
  private let values: Tensor
  private let decay: Tensor?
  private let update: LinearUpdate
  private let scale: Double?
  private let normalizesQueriesAndKeys: Bool
  private let initialState: Tensor?
  private let cumulativeLengths: Tensor?
  private let kernel: String?

  init(_ inputs: NamedTensors, _ flags: OperatorFlags) throws {
    let first = try inputs.required("queries")
    let dtype = flags.dtype ?? first.dtype
    queries = try first.cast(to: dtype)
    keys = try inputs.required("keys").cast(to: dtype)
    values = try inputs.required("values").cast(to: dtype)
    decay = inputs["decay"]
    update = try inputs.linearUpdate()
    scale = flags.scale
    normalizesQueriesAndKeys = flags.normalizesQueriesAndKeys
    initialState = inputs["initial_state"]
    cumulativeLengths = inputs["cumulative_lengths"]
    kernel = flags.kernel
  }

  func run() throws -> OperatorOutputs {
    let result = try linearAttention(
      queries: queries, keys: keys, values: values, decay: decay, update: update, scale: scale,
      normalizesQueriesAndKeys: normalizesQueriesAndKeys, initialState: initialState,
      cumulativeLengths: cumulativeLengths, kernel: kernel)
    return OperatorOutputs(
      tensors: ["output": result.output, "final_state": result.finalState],
      explanation: result.explanation)
  }

  func explain(needsGradient: Bool) throws -> Explanation {
    try LinearAttention.explain(
      queries: queries, keys: keys, values: values, decay: decay, update: update, scale: scale,
      normalizesQueriesAndKeys: normalizesQueriesAndKeys, initialState: initialState,
      cumulativeLengths: cumulativeLengths, kernel: kernel, needsGradient: needsGradient)
  }
}
