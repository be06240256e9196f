import AttentionLayers

/// DeltaNet as a layer: `{ type: "delta_net", heads: 4 }`.
public struct DeltaNetConfiguration: TabledConfiguration {
  public typealias Mixer = DeltaNet

  public static let name = "delta_net"
  public static let summary = "DeltaNet."
  public static let table: [OptionRow<DeltaNet.Options>] = [
    .heads(\.heads),
    .keyExpansion(\.keyExpansion),
    .valueExpansion(\.valueExpansion),
    .convolutionWidth(\.convolution.width),
    .convolutionBias(\.convolution.hasBias),
    .plainFeatureMap(\.featureMap),
    .init(
      "norm", \.norm,
      "the norm that queries and keys are divided by: `l2`, or the `sum` of magnitudes"),
    .init(
      "beta", \.hasBeta,
      "whether the fraction that a token replaces depends on it; otherwise it is 1"),
    .negativeEigenvalues(\.allowsNegativeEigenvalues),
    .init("gate", \.hasGate, "whether the output has a gate"),
    .normEpsilon(\.normEpsilon),
  ]

  public var options: DeltaNet.Options

  public init(_ options: DeltaNet.Options) { self.options = options }
}
