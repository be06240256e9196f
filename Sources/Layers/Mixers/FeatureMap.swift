import AttentionTensors

/// A function of queries and keys whose products stand for similarities.
public enum FeatureMap: String, CaseIterable, Sendable, Codable {
  /// x
  case identity
  /// elu(x) + 1: x + 1 above 0, eˣ below.
  ///
  /// Reference: Katharopoulos et al., [*Transformers are RNNs*](https://arxiv.org/abs/2006.16236) (2020).
  case elu
  /// max(x, 0)
  case relu
  /// x σ(x)
  case swish
  /// softmax([2z, −2z]), z = W x + b, of twice the dimension.
  ///
  /// Reference: Zhang et al., [*The hedgehog & the porcupine*](https://arxiv.org/abs/2402.04347) (2024).
  case hedgehog
  /// max(W x, 0)
  ///
  /// Reference: Kasai et al., [*Finetuning pretrained transformers into RNNs*](https://arxiv.org/abs/2103.13076)
  /// (2021).
  case t2r
  /// (W₁ x + b₁) ⊙ (W₂ x + b₂)
  case elementwiseProduct = "elementwise_product"

  var hasParameters: Bool { [.hedgehog, .t2r, .elementwiseProduct].contains(self) }
}

extension LayerError {
  /// Throws ``invalidArgument(_:was:mustBe:)`` if `map` has parameters.
  static func require(_ name: String, hasNoParameters map: FeatureMap) throws {
    guard map.hasParameters else { return }
    throw invalidArgument(
      name, was: map.rawValue,
      mustBe: "one of "
        + FeatureMap.allCases.filter { !$0.hasParameters }.map(\.rawValue)
        .joined(separator: ", "))
  }
}

/// A feature map and its parameters: `layer` of hedgehog and T2R, `layer1` and `layer2` of products.
struct FeatureMapLayer: Sendable {
  private let map: FeatureMap
  private let layers: [Linear]

  /// - Parameters:
  ///   - map: the function.
  ///   - dimension: the dimension of a head.
  ///   - scope: where its parameters come from.
  init(_ map: FeatureMap, dimension: Int, scope: ParameterScope) throws {
    func linear(_ name: String, hasBias: Bool) throws -> Linear {
      try Linear(inputs: dimension, outputs: dimension, hasBias: hasBias, scope: scope[name])
    }
    self.map = map
    switch map {
    case .identity, .elu, .relu, .swish: layers = []
    case .hedgehog: layers = [try linear("layer", hasBias: true)]
    case .t2r: layers = [try linear("layer", hasBias: false)]
    case .elementwiseProduct:
      layers = [try linear("layer1", hasBias: true), try linear("layer2", hasBias: true)]
    }
  }

  /// [..., dimension] → [..., dimension], or twice as much for hedgehog.
  func callAsFunction(_ x: Tensor) throws -> Tensor {
    switch map {
    case .identity: return x
    case .elu:
      let zero = try Tensor.zeros([], dtype: x.dtype)
      return try x.relu() + x.minimum(zero).exponential()
    case .relu: return try x.relu()
    case .swish: return try x.silu()
    case .hedgehog:
      let logits = try layers[0](x) * 2
      return try Tensor.concatenated([logits, -logits], -1).softmax()
    case .t2r: return try layers[0](x).relu()
    case .elementwiseProduct: return try layers[0](x) * layers[1](x)
    }
  }
}
