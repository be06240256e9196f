import AttentionOperators
import AttentionTensors

/// Mamba-2: a state-space model with one decay per head and token.
///
///     [z, x, B, C, d] = W x̃ ,   (x, B, C) = silu(conv(x, B, C)) ,   Δ = clamp(softplus(d + b))
///     S_t = e^(−e^a Δ_t) S_{t−1} + Δ_t B_t x_tᵀ ,   y_t = S_tᵀ C_t + D x_t
///     output = Wₒ RMSNorm(y ⊙ silu(z)) ,   with the norm over each group of heads
///
/// Heads share B and C in groups. Falcon-H1 scales the input, and each of the five parts of the projection.
///
/// Parameters: `in_proj`, `conv1d`, `dt_bias`, `A_log`, `D`, `norm` unless there is none, and `out_proj`, as
/// in Mamba-2, Bamba, Granite 4, Nemotron-H, Zamba 2 and Falcon-H1.
///
/// Reference: Dao, Gu, [*Transformers are SSMs*](https://arxiv.org/abs/2405.21060) (2024).
public struct Mamba2: RecurrentMixer, ConfiguredMixer {
  public let hidden: Int
  private let options: Options
  private let width: Int
  private let input: Linear
  /// What multiplies the projection, on its device; nil if it is 1 everywhere.
  private let multipliers: Tensor?
  private let convolution: ShortConvolution?
  private let decay: StepDecay
  private let skip: Tensor
  private let norm: GatedNorm?
  private let output: Linear

  public init(hidden: Int, options: Options, outputScale: Double, scope: ParameterScope) throws {
    try options.validate(hidden: hidden)
    self.hidden = hidden
    self.options = options
    width = try options.width(hidden: hidden)
    let sizes = options.partSizes(width: width)
    let input = try Linear(
      inputs: hidden, outputs: sizes.reduce(0, +), hasBias: options.hasBias,
      scope: scope["in_proj"])
    self.input = input
    multipliers = try options.multipliers(width: width).map {
      try Tensor($0).cast(to: scope.dtype).moved(to: input.weight.device)
    }
    convolution = try options.convolution.layer(
      channels: sizes[1] + sizes[2] + sizes[3], appliesSiLU: true, scope: scope["conv1d"])
    decay = try StepDecay(heads: options.heads, scope: scope)
    skip = try scope.parameter("D", [options.heads], .ones)
    norm =
      options.norm == .none
      ? nil
      : try GatedNorm(
        width: width, groups: options.groups, gatesFirst: options.norm == .gateFirst,
        epsilon: options.normEpsilon, scope: scope["norm"])
    output = try Linear(
      inputs: width, outputs: hidden, hasBias: options.hasOutputBias, scale: outputScale,
      scope: scope["out_proj"])
  }

  public func mixed(_ x: Tensor, _ stream: inout TokenStream) throws -> Tensor {
    let (heads, groups) = (options.heads, options.groups)
    let sizes = options.partSizes(width: width)
    let scaled = options.inputMultiplier == 1 ? x : try x * options.inputMultiplier
    var projected = try input(scaled)
    if let multipliers { projected = try projected * multipliers }
    let convolved = sizes[1] + sizes[2] + sizes[3]
    let parts = try projected.split(-1, sizes: [sizes[0], convolved, sizes[4]])
    let rows = try stream.convolved(
      parts[1], by: convolution, "conv1d", appliesSiLU: true
    ).split(-1, sizes: Array(sizes[1...3]))
    var steps = try decay.steps(parts[2])
    if options.smallestStep > 0 { steps = try steps.clamped(to: options.smallestStep...) }
    if let largest = options.largestStep { steps = try steps.clamped(to: ...largest) }
    let result = try stateSpaceDuality(
      inputs: rows[0].separatedHeads(heads), steps: stream.withoutPadding(steps),
      rates: decay.rates(), inputWeights: rows[1].separatedHeads(groups),
      outputWeights: rows[2].separatedHeads(groups), skip: skip,
      initialState: stream.states["state"], cumulativeLengths: stream.cumulativeLengths)
    stream.states["state"] = result.finalState
    let mixed = try result.output.joinedHeads()
    return try output(norm?(mixed, gate: parts[0]) ?? .swiglu(parts[0], mixed))
  }
}

extension Mamba2 {
  /// What is normalised before the output projection.
  public enum Norm: String, CaseIterable, Sendable, Codable {
    /// The gated output.
    case gateFirst = "gate_first"
    /// The output before its gate.
    case normFirst = "norm_first"
    /// Nothing: the output is only gated.
    case none
  }

  /// How a layer divides its width.
  public struct Options: MixerOptions {
    public var heads: Int
    /// The dimension of a head; nil for twice the hidden size over all heads.
    public var headDimension: Int?
    /// Groups of heads that share B and C, a divisor of ``heads``; the norm is over the same groups.
    public var groups = 1
    /// The dimension of B and C.
    public var stateDimension = 128
    public var convolution = ConvolutionOptions(hasBias: true)
    /// Whether the input projection has a bias.
    public var hasBias = false
    public var hasOutputBias = false
    /// Steps Δ are at least this.
    public var smallestStep = 0.0
    /// Steps Δ are at most this; nil for no limit.
    public var largestStep: Double?
    public var norm = Norm.gateFirst
    public var normEpsilon = 1e-5
    /// Multiplies the input.
    public var inputMultiplier = 1.0
    /// Multiply the parts z, x, B, C and d of the projection.
    public var multipliers = [1.0, 1, 1, 1, 1]

    public init(heads: Int) { self.heads = heads }
    public init() { self.init(heads: 4) }

    public func validate(hidden: Int) throws {
      try LayerError.require("hiddenSize", isExtent: hidden)
      try LayerError.require("heads", isExtent: heads)
      _ = try width(hidden: hidden)
      try LayerError.require("groups", isExtent: groups)
      try LayerError.require("heads", heads, isMultipleOf: groups, "groups")
      try LayerError.require("stateDimension", isExtent: stateDimension, times: groups)
      try convolution.validate()
      try LayerError.require("smallestStep", smallestStep, atLeast: 0)
      if let largestStep {
        try LayerError.require("largestStep", largestStep, atLeast: smallestStep)
      }
      try LayerError.require("normEpsilon", isPositive: normEpsilon)
      guard multipliers.count == 5, multipliers.allSatisfy(\.isFinite) else {
        throw LayerError.invalidArgument(
          "multipliers", was: "\(multipliers)", mustBe: "five finite numbers, of z, x, B, C and d")
      }
      guard inputMultiplier.isFinite else {
        throw LayerError.invalidArgument(
          "inputMultiplier", was: "\(inputMultiplier)", mustBe: "a finite number")
      }
    }

    /// The width of all heads.
    func width(hidden: Int) throws -> Int {
      let expansion = 2
      guard let headDimension else {
        try LayerError.require("hiddenSize", expansion * hidden, isMultipleOf: heads, "heads")
        return expansion * hidden
      }
      try LayerError.require("headDimension", isExtent: headDimension, times: heads)
      return heads * headDimension
    }

    /// The sizes of z, x, B, C and d.
    func partSizes(width: Int) -> [Int] {
      [width, width, groups * stateDimension, groups * stateDimension, heads]
    }

    /// The multiplier of every element of the projection; nil if all are 1.
    func multipliers(width: Int) -> [Double]? {
      guard multipliers.contains(where: { $0 != 1 }) else { return nil }
      return zip(multipliers, partSizes(width: width)).flatMap {
        [Double](repeating: $0, count: $1)
      }
    }
  }
}
