import AttentionLayers

/// RWKV-6's time mixing as a layer: `{ type: "rwkv6", heads: 4 }`.
public struct RWKV6Configuration: TabledConfiguration {
  public typealias Mixer = RWKV6

  public static let name = "rwkv6"
  public static let summary = "RWKV-6."
  public static let table: [OptionRow<RWKV6.Options>] = [
    .heads(\.heads),
    .keyExpansion(\.keyExpansion),
    .valueExpansion(\.valueExpansion),
    .init(
      "shift_rank", \.shiftRank,
      "the rank of the projections that mix a token with the one before it"),
    .init("decay_rank", \.decayRank, "the rank of the projection of decays"),
    .init("gate", \.gate, "the factor of the output: `swish` or `sigmoid` of a projection"),
    .normEpsilon(\.normEpsilon),
  ]

  public var options: RWKV6.Options

  public init(_ options: RWKV6.Options) { self.options = options }
}
