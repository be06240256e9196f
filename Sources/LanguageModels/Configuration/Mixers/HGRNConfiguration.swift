import AttentionLayers

/// HGRN as a layer: `{ type: "hgrn", lower_bound: 0.5 }`.
public struct HGRNConfiguration: TabledConfiguration {
  public typealias Mixer = HGRN

  public static let name = "hgrn"
  public static let summary = "The hierarchically gated recurrence."
  public static let table: [OptionRow<HGRN.Options>] = [
    .expansion(\.expansion),
    .convolutionWidth(\.convolution.width),
    .convolutionBias(\.convolution.hasBias),
    .init(
      "lower_bound", \.lowerBound, "the smallest forget gate, from 0 to 1; larger in later layers",
      absence: "0"),
    .normEpsilon(\.normEpsilon),
  ]

  public var options: HGRN.Options

  public init(_ options: HGRN.Options) { self.options = options }
}
