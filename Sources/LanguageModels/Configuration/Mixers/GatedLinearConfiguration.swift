import AttentionLayers

/// Gated linear attention as a layer: `{ type: "gated_linear", heads: 4, gate: "swish" }`.
public struct GatedLinearConfiguration: TabledConfiguration {
  public typealias Mixer = GatedLinearAttention

  public static let name = "gated_linear"
  public static let summary = "Gated linear attention."
  public static let table: [OptionRow<GatedLinearAttention.Options>] = [
    .heads(\.heads),
    .keyValueHeads(\.keyValueHeads),
    .keyExpansion(\.keyExpansion),
    .valueExpansion(\.valueExpansion),
    .convolutionWidth(\.convolution.width),
    .convolutionBias(\.convolution.hasBias),
    .plainFeatureMap(\.featureMap),
    .init(
      "decay_rank", \.decayRank,
      "the dimension between the two projections that compute a decay per channel; `null` for one decay per head"
    ),
    .decayDivisor(\.decayDivisor),
    .init("smallest_decay", \.smallestDecay, "the smallest log-decay", absence: "no limit"),
    .outputGate(\.gate),
    .normEpsilon(\.normEpsilon),
  ]

  public var options: GatedLinearAttention.Options

  public init(_ options: GatedLinearAttention.Options) { self.options = options }
}
