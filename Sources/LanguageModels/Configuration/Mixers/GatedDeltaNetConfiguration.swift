import AttentionLayers

/// Gated DeltaNet as a layer: `{ type: "gated_delta_net", heads: 4, value_heads: 8 }`.
public struct GatedDeltaNetConfiguration: TabledConfiguration {
  public typealias Mixer = GatedDeltaNet

  public static let name = "gated_delta_net"
  public static let summary = "Gated DeltaNet."
  public static let table: [OptionRow<GatedDeltaNet.Options>] = [
    .init("heads", \.heads, "heads of queries and keys"),
    .init(
      "value_heads", \.valueHeads, "heads of values, each with a state; a multiple of `heads`",
      absence: "as many as `heads`"),
    .init(
      "key_dimension", \.keyDimension, "the dimension of a query and a key",
      absence: "`hidden_size` divided by `heads`"),
    .init(
      "value_dimension", \.valueDimension, "the dimension of a value",
      absence: "`key_dimension`"),
    .convolutionWidth(\.convolution.width),
    .convolutionBias(\.convolution.hasBias),
    .init(
      "gate", \.gate,
      "the factor of the output: `swish` or `sigmoid` of a projection, or `null` for none"),
    .init(
      "negative_eigenvalues", \.allowsNegativeEigenvalues,
      "whether a token may negate what the state holds for its key: β is from 0 to 2"),
    .normEpsilon(\.normEpsilon),
    .init(
      "layout", \.layout,
      "the names of the parameters: those of `fla`, `qwen3_next` or `qwen3_5`"),
  ]

  public var options: GatedDeltaNet.Options

  public init(_ options: GatedDeltaNet.Options) { self.options = options }
}
