import AttentionLayers

/// Gated DeltaProduct as a layer: `{ type: "gated_delta_product", updates: 3 }`.
public struct GatedDeltaProductConfiguration: TabledConfiguration {
  public typealias Mixer = GatedDeltaProduct

  public static let name = "gated_delta_product"
  public static let summary = "Gated DeltaProduct."
  public static let table: [OptionRow<GatedDeltaProduct.Options>] = [
    .queryHeads(\.heads),
    .valueHeads(\.valueHeads),
    .keyDimension(\.keyDimension),
    .valueDimension(\.valueDimension),
    .init("updates", \.updates, "updates of the state per token"),
    .convolutionWidth(\.convolution.width),
    .convolutionBias(\.convolution.hasBias),
    .init("decay", \.hasDecay, "whether states decay"),
    .init("gate", \.hasGate, "whether the output has a gate"),
    .negativeEigenvalues(\.allowsNegativeEigenvalues),
    .normEpsilon(\.normEpsilon),
  ]

  public var options: GatedDeltaProduct.Options

  public init(_ options: GatedDeltaProduct.Options) { self.options = options }
}
