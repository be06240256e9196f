import AttentionLayers

/// Comba as a layer: `{ type: "comba", heads: 4 }`.
public struct CombaConfiguration: TabledConfiguration {
  public typealias Mixer = Comba

  public static let name = "comba"
  public static let summary = "Comba."
  public static let table: [OptionRow<Comba.Options>] = [
    .queryHeads(\.heads),
    .valueHeads(\.valueHeads),
    .keyDimension(\.keyDimension),
    .valueDimension(\.valueDimension),
    .convolutionWidth(\.convolution.width),
    .convolutionBias(\.convolution.hasBias),
    .init(
      "inner_decay", \.hasInnerDecay,
      "whether keys that correct queries are scaled by a gate of their head"),
    .init(
      "correction", \.correction,
      "the initial share of the key that is subtracted from the query; `null` for none"),
    .init("gate", \.hasGate, "whether the output has a gate"),
    .normEpsilon(\.normEpsilon),
  ]

  public var options: Comba.Options

  public init(_ options: Comba.Options) { self.options = options }
}
