import AttentionLayers

/// The rows of keys that several mixers have.
extension OptionRow {
  typealias Option<Value> = WritableKeyPath<Options, Value> & Sendable

  static func heads(_ option: Option<Int>) -> Self {
    OptionRow("heads", option, "heads, each with a state")
  }

  static func queryHeads(_ option: Option<Int>) -> Self {
    OptionRow("heads", option, "heads of queries and keys")
  }

  static func valueHeads(_ option: Option<Int?>) -> Self {
    OptionRow(
      "value_heads", option, "heads of values, each with a state; a multiple of `heads`",
      absence: "as many as `heads`")
  }

  static func keyValueHeads(_ option: Option<Int?>) -> Self {
    OptionRow(
      "key_value_heads", option,
      "heads of keys and values, shared by groups of heads; divides `heads`",
      absence: "as many as `heads`")
  }

  static func keyDimension(_ option: Option<Int?>) -> Self {
    OptionRow(
      "key_dimension", option, "the dimension of a query and a key",
      absence: "`hidden_size` divided by `heads`")
  }

  static func valueDimension(_ option: Option<Int?>) -> Self {
    OptionRow(
      "value_dimension", option, "the dimension of a value", absence: "`key_dimension`")
  }

  static func keyExpansion(_ option: Option<Double>) -> Self {
    OptionRow(
      "key_expansion", option,
      "the total key dimension of all heads, as a multiple of `hidden_size`")
  }

  static func valueExpansion(_ option: Option<Double>) -> Self {
    OptionRow(
      "value_expansion", option,
      "the total value dimension of all heads, as a multiple of `hidden_size`")
  }

  static func convolutionWidth(_ option: Option<Int?>) -> Self {
    OptionRow(
      "convolution_width", option,
      "tokens that a short convolution spans, from 2 to 4; `null` for no convolution")
  }

  static func convolutionBias(_ option: Option<Bool>) -> Self {
    OptionRow("convolution_bias", option, "whether the short convolution has a bias")
  }

  static func expansion(_ option: Option<Double>) -> Self {
    OptionRow("expansion", option, "the number of channels, as a multiple of `hidden_size`")
  }

  static func plainFeatureMap(_ option: Option<FeatureMap>) -> Self {
    OptionRow(
      "feature_map", option,
      "the function of queries and keys: `identity`, `elu`, `relu` or `swish`")
  }

  static func decayDivisor(_ option: Option<Double>) -> Self {
    OptionRow(
      "decay_divisor", option,
      "divides the log-decays; with larger values the state decays more slowly")
  }

  static func outputGate(_ option: Option<OutputGate?>) -> Self {
    OptionRow(
      "gate", option,
      "the factor of the output: `swish` or `sigmoid` of a projection, or `null` for none")
  }

  static func negativeEigenvalues(_ option: Option<Bool>) -> Self {
    OptionRow(
      "negative_eigenvalues", option,
      "whether a token may negate what the state holds for its key: β is from 0 to 2")
  }

  static func normEpsilon(_ option: Option<Double>) -> Self {
    OptionRow("norm_epsilon", option, "ε of the mixer's norms")
  }
}
