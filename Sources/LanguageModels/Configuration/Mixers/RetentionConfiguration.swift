import AttentionLayers

/// Retention as a layer: `{ type: "retention", heads: 4 }`.
public struct RetentionConfiguration: TabledConfiguration {
  public typealias Mixer = Retention

  public static let name = "retention"
  public static let summary = "Multi-scale retention."
  public static let table: [OptionRow<Retention.Options>] = [
    .heads(\.heads),
    .keyValueHeads(\.keyValueHeads),
    .keyExpansion(\.keyExpansion),
    .valueExpansion(\.valueExpansion),
    .convolutionWidth(\.convolution.width),
    .convolutionBias(\.convolution.hasBias),
    .plainFeatureMap(\.featureMap),
    .init("rotary_theta", \.rotaryTheta, "the base of the rotary embedding's frequencies"),
    .outputGate(\.gate),
    .normEpsilon(\.normEpsilon),
  ]

  public var options: Retention.Options

  public init(_ options: Retention.Options) { self.options = options }
}
