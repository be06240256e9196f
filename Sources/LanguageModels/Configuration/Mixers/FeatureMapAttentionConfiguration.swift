import AttentionLayers

/// Linear attention as a layer: `{ type: "linear", feature_map: "elu" }`.
public struct FeatureMapAttentionConfiguration: TabledConfiguration {
  public typealias Mixer = FeatureMapAttention

  public static let name = "linear"
  public static let summary = "Linear attention."
  public static let table: [OptionRow<FeatureMapAttention.Options>] = [
    .heads(\.heads),
    .keyValueHeads(\.keyValueHeads),
    .keyExpansion(\.keyExpansion),
    .valueExpansion(\.valueExpansion),
    .init(
      "feature_map", \.featureMap,
      "the function of queries and keys: `identity`, `elu`, `relu`, `swish`, `hedgehog`, `t2r` or `elementwise_product`"
    ),
    .init(
      "normalize_queries", \.normalizesQueries,
      "whether the features of a query are divided by their sum"),
    .init(
      "normalize_keys", \.normalizesKeys, "whether the features of a key are divided by their sum"),
    .init("normalize", \.normalizes, "whether the weights of an output are divided by their sum"),
    .init("norm", \.hasNorm, "whether there is a norm over each head"),
    .normEpsilon(\.normEpsilon),
  ]

  public var options: FeatureMapAttention.Options

  public init(_ options: FeatureMapAttention.Options) { self.options = options }
}
