import AttentionLayers

/// Gated DeltaNet-2 as a layer: `{ type: "gated_delta_net_2", heads: 4 }`.
public struct GatedDeltaNet2Configuration: TabledConfiguration {
  public typealias Mixer = GatedDeltaNet2

  public static let name = "gated_delta_net_2"
  public static let summary = "Gated DeltaNet-2."
  public static let table: [OptionRow<GatedDeltaNet2.Options>] = [
    .queryHeads(\.heads),
    .valueHeads(\.valueHeads),
    .keyDimension(\.keyDimension),
    .valueDimension(\.valueDimension),
    .convolutionWidth(\.convolution.width),
    .convolutionBias(\.convolution.hasBias),
    .negativeEigenvalues(\.allowsNegativeEigenvalues),
    .normEpsilon(\.normEpsilon),
  ]

  public var options: GatedDeltaNet2.Options

  public init(_ options: GatedDeltaNet2.Options) { self.options = options }
}
