import AttentionLayers

/// Lightning attention as a layer: `{ type: "lightning", layer: 3, layers: 12 }`.
public struct LightningConfiguration: TabledConfiguration {
  public typealias Mixer = LightningAttention

  public static let name = "lightning"
  public static let summary = "Lightning attention."
  public static let table: [OptionRow<LightningAttention.Options>] = [
    .heads(\.heads),
    .init(
      "head_dimension", \.headDimension, "the dimension of a head",
      absence: "`hidden_size` divided by `heads`"),
    .init("layer", \.layer, "the index of the layer; states decay more slowly in later layers"),
    .init("layers", \.layers, "the number of layers that `layer` counts"),
    .normEpsilon(\.normEpsilon),
  ]

  public var options: LightningAttention.Options

  public init(_ options: LightningAttention.Options) { self.options = options }
}
