import AttentionTensors

extension GatedDeltaNet {
  /// Which parameters hold the projections of a layer: the same mixer is published in three layouts.
  public enum Layout: String, CaseIterable, Sendable, Codable {
    /// flash-linear-attention: `q_proj`, `k_proj`, `v_proj`, each with its `q_conv1d`, …; `a_proj`, `b_proj`,
    /// `g_proj`, `o_norm`, `o_proj`.
    case fla
    /// Qwen3-Next: `in_proj_qkvz` and `in_proj_ba`, whose rows are ordered by heads of queries and keys;
    /// one `conv1d`; `norm`, `out_proj`.
    case qwen3Next = "qwen3_next"
    /// Qwen3.5: `in_proj_qkv`, `in_proj_z`, `in_proj_b`, `in_proj_a`; one `conv1d`; `norm`, `out_proj`.
    case qwen35 = "qwen3_5"

    func projections(
      hidden: Int, extents: HeadExtents, options: Options, scope: ParameterScope
    ) throws -> any GatedDeltaProjections {
      switch self {
      case .fla:
        try SeparateProjections(hidden: hidden, extents: extents, options: options, scope: scope)
      case .qwen3Next:
        try InterleavedProjections(
          hidden: hidden, extents: extents, options: options, scope: scope)
      case .qwen35:
        try JoinedProjections(hidden: hidden, extents: extents, options: options, scope: scope)
      }
    }
  }

  /// What the recurrence reads of each token.
  struct Rows {
    let heads: HeadProjections.Rows
    /// The arguments of the decay and of β, [batch, length, value heads].
    let steps, beta: Tensor
    /// [batch, length, value heads · value dimension]; nil without a gate.
    let gate: Tensor?
  }
}

/// The projections of one layout.
protocol GatedDeltaProjections: Sendable {
  func rows(_ x: Tensor, _ stream: inout TokenStream) throws -> GatedDeltaNet.Rows
}

/// One projection for each of the tensors.
struct SeparateProjections: GatedDeltaProjections {
  let heads: HeadProjections
  let steps, beta: Linear
  let gate: Linear?

  init(
    hidden: Int, extents: HeadExtents, options: GatedDeltaNet.Options, scope: ParameterScope
  ) throws {
    func linear(_ name: String, _ outputs: Int) throws -> Linear {
      try Linear(inputs: hidden, outputs: outputs, scope: scope[name])
    }
    heads = try HeadProjections(
      hidden: hidden, extents: extents, convolution: options.convolution, appliesSiLU: true,
      scope: scope)
    steps = try linear("a_proj", extents.valueHeads)
    beta = try linear("b_proj", extents.valueHeads)
    gate = options.gate == nil ? nil : try linear("g_proj", extents.valueWidth)
  }

  func rows(_ x: Tensor, _ stream: inout TokenStream) throws -> GatedDeltaNet.Rows {
    GatedDeltaNet.Rows(
      heads: try heads(x, &stream), steps: try steps(x), beta: try beta(x), gate: try gate?(x))
  }
}

/// The convolution of queries, keys and values side by side.
private struct JoinedConvolution: Sendable {
  let extents: HeadExtents
  let convolution: ShortConvolution?

  init(extents: HeadExtents, options: ConvolutionOptions, scope: ParameterScope) throws {
    self.extents = extents
    convolution = try options.layer(
      channels: 2 * extents.keyWidth + extents.valueWidth, appliesSiLU: true,
      scope: scope["conv1d"])
  }

  /// The rows of `joined`, [batch, length, key width + key width + value width].
  func rows(
    _ joined: Tensor, steps: Tensor, beta: Tensor, gate: Tensor, _ stream: inout TokenStream
  ) throws -> GatedDeltaNet.Rows {
    let parts = try stream.convolved(joined, by: convolution, "conv1d", appliesSiLU: true)
      .split(-1, sizes: [extents.keyWidth, extents.keyWidth, extents.valueWidth])
    let heads = HeadProjections.Rows(
      queries: try parts[0].separated(dimension: extents.keyDimension),
      keys: try parts[1].separated(dimension: extents.keyDimension),
      values: try parts[2].separated(dimension: extents.valueDimension))
    return GatedDeltaNet.Rows(heads: heads, steps: steps, beta: beta, gate: gate)
  }
}

/// One projection of queries, keys and values.
private struct JoinedProjections: GatedDeltaProjections {
  let input, gate, beta, steps: Linear
  let convolution: JoinedConvolution

  init(
    hidden: Int, extents: HeadExtents, options: GatedDeltaNet.Options,
    scope: ParameterScope
  ) throws {
    func linear(_ name: String, _ outputs: Int) throws -> Linear {
      try Linear(inputs: hidden, outputs: outputs, scope: scope[name])
    }
    input = try linear("in_proj_qkv", 2 * extents.keyWidth + extents.valueWidth)
    gate = try linear("in_proj_z", extents.valueWidth)
    beta = try linear("in_proj_b", extents.valueHeads)
    steps = try linear("in_proj_a", extents.valueHeads)
    convolution = try JoinedConvolution(
      extents: extents, options: options.convolution, scope: scope)
  }

  func rows(_ x: Tensor, _ stream: inout TokenStream) throws -> GatedDeltaNet.Rows {
    try convolution.rows(input(x), steps: steps(x), beta: beta(x), gate: gate(x), &stream)
  }
}

/// Two projections, each with the rows of one head of queries and keys, and of the value heads that share it,
/// side by side.
private struct InterleavedProjections: GatedDeltaProjections {
  let extents: HeadExtents
  let input, gates: Linear
  let convolution: JoinedConvolution

  init(
    hidden: Int, extents: HeadExtents, options: GatedDeltaNet.Options,
    scope: ParameterScope
  ) throws {
    self.extents = extents
    input = try Linear(
      inputs: hidden, outputs: 2 * extents.keyWidth + 2 * extents.valueWidth,
      scope: scope["in_proj_qkvz"])
    gates = try Linear(
      inputs: hidden, outputs: 2 * extents.valueHeads, scope: scope["in_proj_ba"])
    convolution = try JoinedConvolution(
      extents: extents, options: options.convolution, scope: scope)
  }

  func rows(_ x: Tensor, _ stream: inout TokenStream) throws -> GatedDeltaNet.Rows {
    let (key, group) = (extents.keyDimension, extents.valueHeads / extents.heads)
    let value = group * extents.valueDimension
    /// The parts of each head's rows, each with all heads side by side: [batch, length, heads · size].
    func parts(_ projected: Tensor, _ sizes: [Int]) throws -> [Tensor] {
      try projected.separatedHeads(extents.heads).split(-1, sizes: sizes).map {
        try $0.joinedHeads()
      }
    }
    let rows = try parts(input(x), [key, key, value, value])
    let gates = try parts(gates(x), [group, group])
    return try convolution.rows(
      .concatenated(Array(rows[..<3]), -1), steps: gates[1], beta: gates[0], gate: rows[3], &stream)
  }
}
