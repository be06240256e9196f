import AttentionLayers

/// Kimi Delta Attention as a layer: `{ type: "kimi_delta", heads: 4 }`.
public struct KimiDeltaConfiguration: TabledConfiguration {
  public typealias Mixer = KimiDeltaAttention

  public static let name = "kimi_delta"
  public static let summary = "Kimi Delta Attention."
  public static let table: [OptionRow<KimiDeltaAttention.Options>] = [
    .queryHeads(\.heads),
    .valueHeads(\.valueHeads),
    .keyDimension(\.keyDimension),
    .valueDimension(\.valueDimension),
    .convolutionWidth(\.convolution.width),
    .convolutionBias(\.convolution.hasBias),
    .negativeEigenvalues(\.allowsNegativeEigenvalues),
    .init(
      "smallest_decay", \.smallestDecay, "a negative number that log-decays approach",
      absence: "no limit"),
    .normEpsilon(\.normEpsilon),
    .init("layout", \.layout, "the projections of gates: those of `fla`, `kimi` or `bailing`"),
  ]

  public var options: KimiDeltaAttention.Options

  public init(_ options: KimiDeltaAttention.Options) { self.options = options }
}
