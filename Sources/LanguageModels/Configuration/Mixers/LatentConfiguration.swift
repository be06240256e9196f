import AttentionLayers

/// Multi-head latent attention as a layer: `{ type: "latent", heads: 4, rank: 64 }`.
public struct LatentConfiguration: TabledConfiguration {
  public typealias Mixer = LatentAttention

  public static let name = "latent"
  public static let summary = "Multi-head latent attention."
  public static let table: [OptionRow<LatentAttention.Options>] = [
    .init("heads", \.heads, "heads of queries, keys and values"),
    .init("rank", \.rank, "the dimension of the vector that keys and values are made of"),
    .init(
      "query_rank", \.queryRank, "the dimension of the vector that queries are made of",
      absence: "queries are made of the input"),
    .init("plain_dimension", \.plainDimension, "elements of a query and a key without position"),
    .init(
      "rotary_dimension", \.rotaryDimension,
      "rotated elements of a query, and of the key that all heads share"),
    .init("value_dimension", \.valueDimension, "the dimension of a value"),
    .init(
      "rotary_theta", \.rotaryTheta,
      "the base of the rotary embedding's frequencies; `null` for no rotary embedding"),
    .normEpsilon(\.normEpsilon),
  ]

  public var options: LatentAttention.Options

  public init(_ options: LatentAttention.Options) { self.options = options }
}
