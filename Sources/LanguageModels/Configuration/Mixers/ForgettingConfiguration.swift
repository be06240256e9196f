import AttentionLayers

/// Forgetting attention as a layer: `{ type: "forgetting", heads: 4 }`.
public struct ForgettingConfiguration: TabledConfiguration {
  public typealias Mixer = ForgettingAttention

  public static let name = "forgetting"
  public static let summary = "Forgetting attention."
  public static let table: [OptionRow<ForgettingAttention.Options>] = [
    .init("heads", \.heads, "query heads"),
    .keyValueHeads(\.keyValueHeads),
    .init("bias", \.hasBias, "whether the projections of queries, keys and values have biases"),
    .init(
      "query_key_norm", \.normalizesQueriesAndKeys,
      "whether queries and keys are normalised over each head"),
    .init(
      "window", \.window, "number of tokens that a token attends to, including itself",
      absence: "all earlier tokens"),
    .init("gate", \.hasGate, "whether the output has a gate"),
    .normEpsilon(\.normEpsilon),
  ]

  public var options: ForgettingAttention.Options

  public init(_ options: ForgettingAttention.Options) { self.options = options }
}
