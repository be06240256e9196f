import AttentionTensors

/// Projections one after the other, as the low-rank ones of gates: y = W₂ W₁ x + b.
struct LinearChain: Sendable {
  let layers: [Linear]

  init(_ layers: [Linear]) { self.layers = layers }

  /// The projections `NAME.0` and, with a bias if asked, `NAME.1`.
  ///
  /// - Parameters:
  ///   - inputs: the extent of the input's last axis.
  ///   - rank: the extent between the projections.
  ///   - outputs: the extent of the output's last axis.
  ///   - hasBias: whether the second one has a bias.
  ///   - scope: the scope NAME.
  init(inputs: Int, rank: Int, outputs: Int, hasBias: Bool, scope: ParameterScope) throws {
    layers = [
      try Linear(inputs: inputs, outputs: rank, scope: scope["0"]),
      try Linear(inputs: rank, outputs: outputs, hasBias: hasBias, scope: scope["1"]),
    ]
  }

  func callAsFunction(_ x: Tensor) throws -> Tensor { try layers.reduce(x) { try $1($0) } }
}
