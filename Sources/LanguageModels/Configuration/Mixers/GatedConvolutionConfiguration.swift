import AttentionLayers

/// A gated short convolution as a layer: `{ type: "gated_convolution", width: 3 }`.
public struct GatedConvolutionConfiguration: TabledConfiguration {
  public typealias Mixer = GatedConvolution

  public static let name = "gated_convolution"
  public static let summary = "A gated short convolution."
  public static let table: [OptionRow<GatedConvolution.Options>] = [
    .init("width", \.width, "tokens that the convolution spans, from 2 to 4"),
    .init("bias", \.hasBias, "whether the projections and the convolution have biases"),
  ]

  public var options: GatedConvolution.Options

  public init(_ options: GatedConvolution.Options) { self.options = options }
}
