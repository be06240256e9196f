import AttentionLayers

/// Gated DeltaNet as a layer: `{ type: "gated_delta_net", heads: 4, value_heads: 8 }`.
public struct GatedDeltaNetConfiguration: TabledConfiguration {
  public typealias Mixer = GatedDeltaNet

  public static let name = "gated_delta_net"
  public static let summary = "Gated DeltaNet."
  public static let table: [OptionRow<GatedDeltaNet.Options>] = [
    .queryHeads(\.heads),
    .valueHeads(\.valueHeads),
    .keyDimension(\.keyDimension),
    .valueDimension(\.valueDimension),
    .convolutionWidth(\.convolution.width),
    .convolutionBias(\.convolution.hasBias),
    .outputGate(\.gate),
    .negativeEigenvalues(\.allowsNegativeEigenvalues),
    .normEpsilon(\.normEpsilon),
    .init(
      "layout", \.layout,
      "the names of the parameters: those of `fla`, `qwen3_next` or `qwen3_5`"),
  ]

  public var options: GatedDeltaNet.Options

  public init(_ options: GatedDeltaNet.Options) { self.options = options }
}
