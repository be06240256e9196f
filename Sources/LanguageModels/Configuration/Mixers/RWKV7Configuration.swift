import AttentionLayers

/// RWKV-7's time mixing as a layer: `{ type: "rwkv7", heads: 4, layer: 1, layers: 12 }`.
public struct RWKV7Configuration: TabledConfiguration {
  public typealias Mixer = RWKV7

  public static let name = "rwkv7"
  public static let summary = "RWKV-7."
  public static let table: [OptionRow<RWKV7.Options>] = [
    .heads(\.heads),
    .init("layer", \.layer, "the index of the layer; layer 0 leaves its values for the others"),
    .init("layers", \.layers, "the number of layers that `layer` counts"),
    .init("decay_rank", \.decayRank, "the rank of the projection of decays"),
    .init("rate_rank", \.rateRank, "the rank of the projection of removal rates"),
    .init("value_rank", \.valueRank, "the rank of the projection of the share of layer 0's values"),
    .init("gate_rank", \.gateRank, "the rank of the projection of the gate"),
    .normEpsilon(\.normEpsilon),
  ]

  public var options: RWKV7.Options

  public init(_ options: RWKV7.Options) { self.options = options }
}
