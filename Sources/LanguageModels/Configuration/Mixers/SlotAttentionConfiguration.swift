import AttentionLayers

/// Gated slot attention as a layer: `{ type: "gated_slot", slots: 64 }`.
public struct SlotAttentionConfiguration: TabledConfiguration {
  public typealias Mixer = SlotAttention

  public static let name = "gated_slot"
  public static let summary = "Gated slot attention."
  public static let table: [OptionRow<SlotAttention.Options>] = [
    .heads(\.heads),
    .keyValueHeads(\.keyValueHeads),
    .keyExpansion(\.keyExpansion),
    .valueExpansion(\.valueExpansion),
    .init("slots", \.slots, "slots of a head", absence: "the dimension of a key"),
    .convolutionWidth(\.convolution.width),
    .convolutionBias(\.convolution.hasBias),
    .init(
      "feature_map", \.featureMap,
      "the function of queries and keys: `identity`, `elu`, `relu`, `swish`, `t2r` or `elementwise_product`"
    ),
    .decayDivisor(\.decayDivisor),
    .normEpsilon(\.normEpsilon),
  ]

  public var options: SlotAttention.Options

  public init(_ options: SlotAttention.Options) { self.options = options }
}
