import AttentionLayers

/// Mamba as a layer: `{ type: "mamba", state_dimension: 16 }`.
public struct MambaConfiguration: TabledConfiguration {
  public typealias Mixer = Mamba

  public static let name = "mamba"
  public static let summary = "Mamba."
  public static let table: [OptionRow<Mamba.Options>] = [
    .expansion(\.expansion),
    .init("state_dimension", \.stateDimension, "the number of states of a channel"),
    .init(
      "step_rank", \.stepRank, "the rank of the projection of time steps",
      absence: "`hidden_size` divided by 16, rounded up"),
    .convolutionWidth(\.convolution.width),
    .convolutionBias(\.convolution.hasBias),
    .init("bias", \.hasBias, "whether the projections of input and output have biases"),
    .init(
      "selection_norm", \.selectionNorm,
      "the norms of step, B and C: `none`, `plain` without weights, or `learned`"),
    .normEpsilon(\.normEpsilon),
  ]

  public var options: Mamba.Options

  public init(_ options: Mamba.Options) { self.options = options }
}
