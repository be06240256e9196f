import AttentionLayers

/// Mamba-2 as a layer: `{ type: "mamba2", heads: 8, state_dimension: 64 }`.
public struct Mamba2Configuration: TabledConfiguration {
  public typealias Mixer = Mamba2

  public static let name = "mamba2"
  public static let summary = "Mamba-2."
  public static let table: [OptionRow<Mamba2.Options>] = [
    .heads(\.heads),
    .init(
      "head_dimension", \.headDimension, "the dimension of a head",
      absence: "twice `hidden_size`, divided by `heads`"),
    .init("groups", \.groups, "groups of heads that share B and C; divides `heads`"),
    .init("state_dimension", \.stateDimension, "the dimension of B and C"),
    .convolutionWidth(\.convolution.width),
    .convolutionBias(\.convolution.hasBias),
    .init("bias", \.hasBias, "whether the input projection has a bias"),
    .init("output_bias", \.hasOutputBias, "whether the output projection has a bias"),
    .init("smallest_step", \.smallestStep, "the smallest time step"),
    .init("largest_step", \.largestStep, "the largest time step", absence: "no limit"),
    .init(
      "norm", \.norm,
      "`gate_first` to normalise the gated output, `norm_first` to gate the normalised one, or `none`"
    ),
    .normEpsilon(\.normEpsilon),
    .init("input_multiplier", \.inputMultiplier, "multiplies the input"),
    .init(
      "multipliers", \.multipliers,
      "multiply the five parts of the input's projection: z, x, B, C and the step"),
  ]

  public var options: Mamba2.Options

  public init(_ options: Mamba2.Options) { self.options = options }
}
