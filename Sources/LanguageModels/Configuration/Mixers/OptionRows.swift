import AttentionLayers

/// The rows of keys that several mixers have.
extension OptionRow {
  typealias Option<Value> = WritableKeyPath<Options, Value> & Sendable

  static func heads(_ option: Option<Int>) -> Self {
    .init("heads", option, "heads, each with a state")
  }

  static func convolutionWidth(_ option: Option<Int?>) -> Self {
    .init(
      "convolution_width", option,
      "tokens that a short convolution spans, from 2 to 4; `null` for no convolution")
  }

  static func convolutionBias(_ option: Option<Bool>) -> Self {
    .init("convolution_bias", option, "whether the short convolution has a bias")
  }

  static func normEpsilon(_ option: Option<Double>) -> Self {
    .init("norm_epsilon", option, "ε of the mixer's norms")
  }
}
