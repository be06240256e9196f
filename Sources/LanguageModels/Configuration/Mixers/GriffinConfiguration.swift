import AttentionLayers

/// Griffin's recurrent block as a layer: `{ type: "rg_lru", heads: 4 }`.
public struct GriffinConfiguration: TabledConfiguration {
  public typealias Mixer = GriffinRecurrence

  public static let name = "rg_lru"
  public static let summary = "Griffin's recurrent block."
  public static let table: [OptionRow<GriffinRecurrence.Options>] = [
    .init("width", \.width, "the number of channels", absence: "`hidden_size`"),
    .init("heads", \.heads, "diagonal blocks of the gates' matrices; divides `width`"),
    .convolutionWidth(\.convolution.width),
    .convolutionBias(\.convolution.hasBias),
  ]

  public var options: GriffinRecurrence.Options

  public init(_ options: GriffinRecurrence.Options) { self.options = options }
}
