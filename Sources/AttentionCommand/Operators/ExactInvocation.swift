import AttentionOperators
import AttentionTensors

/// Exact attention as the command line describes it.
struct ExactInvocation: OperatorInvocation {
  private let queries: Tensor
  private let keys: Tensor
  private let values: Tensor
  private let similarity: Similarity
  private let mask: AttentionMask
  private let terms: ScoreTerms
  private let allowsTF32: Bool
  private let device: Device
  private let kernel: String?

  init(_ inputs: NamedTensors, _ flags: OperatorFlags, isCosine: Bool) throws {
    let first = try inputs.required("queries")
    let dtype = flags.dtype ?? first.dtype
    queries = try first.cast(to: dtype)
    keys = try inputs.required("keys").cast(to: dtype)
    values = try inputs.required("values").cast(to: dtype)
    let scale = try Self.scale(inputs["scale"], flags.scale)
    if isCosine {
      // The operator's own defaults, where nothing is said.
      let groups = flags.groups ?? 1
      let normalizes = !flags.skipsNormalization
      similarity =
        scale.map { .cosine(scale: $0, groups: groups, normalizes: normalizes) }
        ?? .cosine(groups: groups, normalizes: normalizes)
    } else {
      similarity = .dotProduct(scale: scale)
    }
    mask = AttentionMask(
      isCausal: flags.causal, alignment: flags.alignment ?? .bottomRight,
      window: flags.window.map { Window(left: $0.left, right: $0.right) },
      keyMask: inputs["key_mask"], cumulativeLengths: inputs["cumulative_lengths"])
    terms = ScoreTerms(
      softcap: flags.softcap, alibi: flags.alibi ? .standard : nil, bias: inputs["bias"],
      logitDecay: inputs["logit_decay"], sinks: inputs["sinks"])
    allowsTF32 = flags.tf32
    device = try OperatorFlags.device(named: flags.device)
    kernel = flags.kernel
  }

  private static func scale(_ tensor: Tensor?, _ number: Double?) throws -> Scale? {
    guard tensor == nil || number == nil else {
      throw CommandError("--scale and a tensor named scale are both given; one must be absent")
    }
    return tensor.map { .perHead($0) } ?? number.map { .number($0) }
  }

  func run() throws -> OperatorOutputs {
    let result = try attention(
      queries: queries, keys: keys, values: values, similarity: similarity, mask: mask,
      terms: terms, allowsTF32: allowsTF32, kernel: kernel)
    return OperatorOutputs(
      tensors: ["output": result.output, "log_sum_exp": result.logSumExp],
      explanation: result.explanation)
  }

  func explain(needsGradient: Bool) throws -> Explanation {
    try ExactAttention.explain(
      queries: queries, keys: keys, values: values, similarity: similarity, mask: mask,
      terms: terms, allowsTF32: allowsTF32, device: device, needsGradient: needsGradient,
      kernel: kernel)
  }
}
