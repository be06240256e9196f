import AttentionLayers
import AttentionTensors
import TestSupport
import Testing

@testable import AttentionLanguageModels

@Suite struct LossTests {
  @Test(arguments: ModelCase.all) func lossIsTheMeanNegativeLogLikelihood(_ test: ModelCase) throws
  {
    let model = try test.model(dtype: .float64)
    let tokens = try test.tokens(2, 6)
    let targets = try test.tokens(2, 6, seed: 3).elements(as: Int32.self)
    // Every third target is ignored.
    let counted = targets.indices.map { $0 % 3 == 0 ? Int32(-1 - $0) : targets[$0] }
    let loss = try model.loss(tokens: tokens, targets: Tensor(counted, [2, 6])).item()
    let vocabulary = test.configuration.vocabularySize
    let logits = try model(tokens).elements(as: Double.self)
    let likelihoods = try Tensor(logits, [12, vocabulary]).exponential()
    let sums = try likelihoods.sum([1]).logarithm().elements(as: Double.self)
    var total = 0.0
    for row in 0..<12 where row % 3 != 0 {
      total += sums[row] - logits[row * vocabulary + Int(targets[row])]
    }
    #expect(abs(loss - total / 8) < 1e-6, "\(test.name)")
  }

  /// The directional derivative of the loss along the gradient, and along a random direction, in all parameters
  /// together.
  @Test(arguments: ModelCase.all) func gradientsAreTheDerivatives(_ test: ModelCase) throws {
    let scope = ParameterScope(seed: 1, dtype: .float64)
    _ = try LanguageModel(test.configuration, scope: scope)
    let parameters = scope.parameters.tracked()
    let tokens = try test.tokens(1, 9)
    let targets = try test.tokens(1, 9, seed: 3)
    let ends = try Tensor([0, 6, 9] as [Int32])
    func loss(_ parameters: Parameters) throws -> Tensor {
      try LanguageModel(test.configuration, parameters: parameters)
        .loss(tokens: tokens, targets: targets, cumulativeLengths: ends)
    }
    let gradients = try loss(parameters).gradients(of: parameters.tensors)
    for (path, gradient) in zip(parameters.paths, gradients) {
      let size = try gradient.squared().sum().item()
      #expect(size > 0, "\(test.name), \(path) has no influence")
    }
    // Steps large enough for the scales of cosine layers, which are read in float32, are too coarse for the
    // other parameters, so scales are left unchanged.
    let directions = try zip(parameters.paths, gradients).enumerated().map { place, pair in
      pair.0.hasSuffix(".scale")
        ? try Tensor.zeros(pair.1.shape, dtype: .float64)
        : try normal(pair.1.shape, UInt64(place))
    }
    let expected = try zip(gradients, directions).reduce(0) { try $0 + ($1.0 * $1.1).sum().item() }
    func moved(_ step: Double) throws -> Double {
      let tensors = try zip(parameters.tensors, directions).map { try $0.detached() + $1 * step }
      return try loss(parameters.replacing(tensors)).item()
    }
    let step = 1e-5
    func slope(_ step: Double) throws -> Double { try (moved(step) - moved(-step)) / (2 * step) }
    let actual = try (4 * slope(step) - slope(2 * step)) / 3
    #expect(abs(actual - expected) < 1e-6 * max(1, abs(expected)), "\(test.name)")
  }

  @Test func wrongTargetsAndTokensAreRefused() throws {
    let test = ModelCase.all[0]
    let model = try test.model()
    let tokens = try test.tokens(2, 6)
    #expect(throws: LayerError.self) { try model.loss(tokens: tokens, targets: test.tokens(2, 5)) }
    #expect(throws: LayerError.self) {
      try model.loss(tokens: tokens, targets: tokens.cast(to: .int64))
    }
    #expect(throws: TensorError.self) {
      try model.loss(tokens: tokens, targets: .full([2, 6], 23, dtype: .int32))
    }
    #expect(throws: TensorError.self) { try model(.full([2, 6], 23, dtype: .int32)) }
    #expect(throws: LayerError.self) { try model(.zeros([6], dtype: .int32)) }
    #expect(throws: LayerError.self) { try model(tokens.cast(to: .int64)) }
    #expect(try model.loss(tokens: tokens, targets: .full([2, 6], -1, dtype: .int32)).item() == 0)
  }

  @Test func emptySequencesAreOrdinary() throws {
    for test in ModelCase.all {
      let logits = try test.model()(.zeros([2, 0], dtype: .int32))
      #expect(logits.shape == [2, 0, 23], "\(test.name)")
    }
  }
}
