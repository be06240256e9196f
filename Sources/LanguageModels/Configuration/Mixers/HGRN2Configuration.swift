import AttentionLayers

/// HGRN-2 as a layer: `{ type: "hgrn2", heads: 4 }`.
public struct HGRN2Configuration: TabledConfiguration {
  public typealias Mixer = HGRN2

  public static let name = "hgrn2"
  public static let summary = "HGRN-2."
  public static let table: [OptionRow<HGRN2.Options>] = [
    .heads(\.heads),
    .init(
      "key_dimension", \.keyDimension, "the dimension of a query and a forget gate",
      absence: "`hidden_size` divided by `heads`"),
    .convolutionWidth(\.convolution.width),
    .convolutionBias(\.convolution.hasBias),
    .init(
      "lower_bound", \.lowerBound, "the smallest forget gate, from 0 to 1; larger in later layers",
      absence: "0"),
    .normEpsilon(\.normEpsilon),
  ]

  public var options: HGRN2.Options

  public init(_ options: HGRN2.Options) { self.options = options }
}
