import AttentionTensors

/// The experts of Granite: gated feed-forward layers whose weights are one tensor for all.
///
/// Parameters: `input_linear.weight` [experts, 2 · inner, width], with the rows of the gate first, and
/// `output_linear.weight` [experts, width, inner].
struct StackedExperts: Sendable {
  private let options: FeedForward.Options
  private let input, output: Tensor

  /// - Throws: ``LayerError``.
  init(
    width: Int, experts: Int, options: FeedForward.Options, outputScale: Double,
    scope: ParameterScope
  ) throws {
    try LayerError.require("inner", isExtent: options.inner)
    self.options = options
    input = try scope["input_linear"].parameter(
      "weight", [experts, 2 * options.inner, width], .scaledNormal(inputs: width))
    output = try scope["output_linear"].parameter(
      "weight", [experts, width, options.inner],
      .scaledNormal(inputs: options.inner, scale: outputScale))
  }

  /// The results of one expert, [rows, width].
  func callAsFunction(_ expert: Int, _ rows: Tensor) throws -> Tensor {
    let halves = try rows.multiplied(byRowsOf: input.selected(0, expert))
      .split(-1, sizes: [options.inner, options.inner])
    let gated = try options.activation.gating(halves[0].contiguous(), halves[1].contiguous())
    return try gated.multiplied(byRowsOf: output.selected(0, expert))
  }
}

/// The experts of GPT-OSS, whose weights are one tensor for all:
///
///     g = min(gate, limit) ,  u = clamp(up, −limit, limit)
///     y = W₂ ((u + 1) ⊙ g σ(α g)) + b₂
///
/// Parameters: `gate_up_proj` [experts, width, 2 · inner], whose even columns are the gate's, `gate_up_proj_bias`
/// [experts, 2 · inner], `down_proj` [experts, inner, width] and `down_proj_bias` [experts, width].
struct ClampedExperts: Sendable {
  private let clamp: MixtureOfExperts.Clamp
  private let inner: Int
  private let input, inputBias: Tensor
  private let output, outputBias: Tensor

  /// - Throws: ``LayerError``.
  init(
    width: Int, experts: Int, inner: Int, clamp: MixtureOfExperts.Clamp, outputScale: Double,
    scope: ParameterScope
  ) throws {
    try LayerError.require("inner", isExtent: inner)
    try LayerError.require("swiglu limit", isPositive: clamp.limit)
    self.clamp = clamp
    self.inner = inner
    input = try scope.parameter(
      "gate_up_proj", [experts, width, 2 * inner], .scaledNormal(inputs: width))
    inputBias = try scope.parameter("gate_up_proj_bias", [experts, 2 * inner], .zeros)
    output = try scope.parameter(
      "down_proj", [experts, inner, width], .scaledNormal(inputs: inner, scale: outputScale))
    outputBias = try scope.parameter("down_proj_bias", [experts, width], .zeros)
  }

  /// The results of one expert, [rows, width].
  func callAsFunction(_ expert: Int, _ rows: Tensor) throws -> Tensor {
    let both = try rows.matmul(input.selected(0, expert)) + inputBias.selected(0, expert)
    let pairs = try both.reshaped([both.shape[0], inner, 2])
    let limit = try Tensor.full([], clamp.limit, dtype: rows.dtype, device: rows.device)
    let gate = try pairs.selected(-1, 0).minimum(limit)
    let up = try pairs.selected(-1, 1).minimum(limit).maximum(-limit)
    let gated = try (up + 1) * gate * (gate * clamp.slope).sigmoid()
    return try gated.matmul(output.selected(0, expert)) + outputBias.selected(0, expert)
  }
}
