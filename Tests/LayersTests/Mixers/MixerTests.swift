import AttentionTensors
import TestSupport
import Testing

@testable import AttentionLayers

/// A token mixer and how to make it.
struct MixerCase: Sendable, CustomTestStringConvertible {
  let name: String
  let make: @Sendable (ParameterScope) throws -> any TokenMixer
  var testDescription: String { name }
  static let hidden = 8

  static let all = attention + RecurrentCase.all.map(\.mixer)

  private static let attention: [MixerCase] = {
    var bare = ExactAttentionOptions(heads: 2, headDimension: 3)
    bare.rotaryTheta = nil
    let shared = ExactAttentionOptions(heads: 4, keyValueHeads: 2, window: 2)
    let exact: [(String, ExactAttentionOptions)] = [
      ("plain", .init(heads: 2)), ("grouped, windowed", shared), ("without positions", bare),
    ]
    return exact.flatMap { name, options in
      [
        MixerCase(name: "softmax, \(name)") {
          try SoftmaxAttention(hidden: hidden, options: options, scope: $0)
        },
        MixerCase(name: "cosine, \(name)") {
          try CosineAttention(hidden: hidden, options: options, initialScale: 3, scope: $0)
        },
      ]
    }
  }()

  /// Parameters that the mixer requests, among which no weight is exactly 1 and no bias 0.
  func parameters(dtype: DType = .float64) throws -> Parameters {
    let scope = ParameterScope(seed: 8, dtype: .float64)
    _ = try make(scope)
    var seed: UInt64 = 100
    return try scope.parameters.mapping {
      seed += 1
      return try ($0 + normal($0.shape, seed, deviation: 0.2)).cast(to: dtype)
    }
  }
}

@Suite struct MixerTests {
  @Test(arguments: MixerCase.all) func gradientsAreTheDerivatives(_ test: MixerCase) throws {
    let parameters = try test.parameters()
    let x = try normal([1, 4, MixerCase.hidden], 3)
    let context = try TokenContext(
      batch: 1, length: 4, cumulativeLengths: Tensor([0, 3, 4] as [Int32]))
    // The operator reads a scale per head in float32, which is too coarse for these steps.
    let places = parameters.paths.indices.filter { parameters.paths[$0] != "scale" }
    try expectDirectionalGradients(
      of: [x] + places.map { parameters.tensors[$0] }, test.name
    ) { inputs in
      var tensors = parameters.tensors
      for (place, input) in zip(places, inputs.dropFirst()) { tensors[place] = input }
      let scope = ParameterScope(try parameters.replacing(tensors), dtype: .float64)
      let mixer = try test.make(scope)
      return try mixer(inputs[0], context: context)
    }
  }

  /// Central differences with steps that float32 represents, extrapolated to a step of zero (Richardson): the
  /// remaining error is of fourth order in the step.
  @Test func theScaleOfEachHeadIsLearned() throws {
    let parameters = try MixerCase.all[1].parameters()
    let x = try normal([1, 5, MixerCase.hidden], 3)
    let seed = try normal(x.shape, 4)
    func output(_ scales: [Double]) throws -> (output: Tensor, scale: Tensor) {
      let scale = try Tensor(scales).tracked()
      let tensors = zip(parameters.paths, parameters.tensors).map { $0 == "scale" ? scale : $1 }
      let scope = ParameterScope(try parameters.replacing(tensors), dtype: .float64)
      let mixer = try MixerCase.all[1].make(scope)
      return (try mixer(x), scale)
    }
    func total(_ scales: [Double]) throws -> Double {
      try (output(scales).output * seed).sum().item()
    }
    let start = [3.0, 2.0]
    let (mixed, scale) = try output(start)
    let gradient = try mixed.gradients(of: [scale], seed: seed)[0].elements(as: Double.self)
    for head in start.indices {
      func slope(_ step: Double) throws -> Double {
        var (up, down) = (start, start)
        up[head] += step
        down[head] -= step
        return try (total(up) - total(down)) / (2 * step)
      }
      let step = 1.0 / 16
      let expected = try (4 * slope(step / 2) - slope(step)) / 3
      #expect(abs(gradient[head] - expected) < step * step * step * step, "head \(head)")
      #expect(abs(expected) > 1e-3, "head \(head)")
    }
  }

  @Test(arguments: MixerCase.all) func float32IsCloseToFloat64(_ test: MixerCase) throws {
    let exact = try test.parameters().tracked()
    let rounded = try exact.mapping { try $0.detached().cast(to: .float32) }.tracked()
    let x = try normal([2, 37, MixerCase.hidden], 3)
    let exactMixer = try test.make(ParameterScope(exact, dtype: .float64))
    let mixer = try test.make(ParameterScope(rounded))
    let expected = try exactMixer(x)
    let actual = try mixer(x.cast(to: .float32))
    try expectClose(actual, expected, within: 1e-5, test.name)
    let seed = try normal(expected.shape, 4)
    let expectedGradients = try expected.gradients(of: exact.tensors, seed: seed)
    let gradients = try actual.gradients(of: rounded.tensors, seed: seed.cast(to: .float32))
    for (path, pair) in zip(exact.paths, zip(gradients, expectedGradients)) {
      try expectClose(pair.0, pair.1, within: 1e-4, "\(test.name), \(path)")
    }
  }

  @Test(arguments: MixerCase.all) func paddingIsWithoutInfluence(_ test: MixerCase) throws {
    let mixer = try test.make(ParameterScope(seed: 8))
    let x = try normal([2, 9, MixerCase.hidden], 3, dtype: .float32)
    let mask = try Tensor(
      (0..<18).map { $0 % 9 >= ($0 < 9 ? 4 : 0) }, [2, 9])
    let context = try TokenContext(batch: 2, length: 9, paddingMask: mask)
    let mixed = try mixer(x, context: context)
    let alone = try mixer(x.sliced(0, 0..<1).sliced(1, 4..<9))
    try expectClose(mixed.sliced(0, 0..<1).sliced(1, 4..<9), alone, within: 1e-5, test.name)
    try expectClose(
      mixed.sliced(0, 1..<2), mixer(x.sliced(0, 1..<2)), within: 1e-5, "\(test.name), unpadded")
  }

  @Test(arguments: MixerCase.all) func misusedCachesAreRefused(_ test: MixerCase) throws {
    let mixer = try test.make(ParameterScope(seed: 8))
    let x = try normal([1, 2, MixerCase.hidden], 3, dtype: .float32)
    let start = try TokenContext(batch: 1, length: 2)
    let later = try TokenContext(batch: 1, length: 2, offset: 2)
    var cache: (any MixerCache)? = mixer.makeCache()
    #expect(throws: LayerError.self, "tracked") {
      try mixer(x.tracked(), context: start, cache: &cache)
    }
    #expect(throws: LayerError.self, "ahead of the cache") {
      try mixer(x, context: later, cache: &cache)
    }
    #expect(throws: LayerError.self, "no cache") { try mixer(x, context: later) }
    #expect(throws: LayerError.self, "packed") {
      let packed = try TokenContext(
        batch: 1, length: 2, cumulativeLengths: Tensor([0, 2] as [Int32]))
      return try mixer(x, context: packed, cache: &cache)
    }
    var foreign: (any MixerCache)? = cache is KeyValueCache ? RecurrentCache() : KeyValueCache()
    #expect(throws: LayerError.self, "of another mixer") {
      try mixer(x, context: start, cache: &foreign)
    }
    #expect(throws: LayerError.self, "another width") { try mixer(.zeros([1, 2, 5])) }
    _ = try mixer(x, context: start, cache: &cache)
    #expect(cache?.tokenCount == 2)
  }

  @Test func optionsThatDoNotFitAreNamed() throws {
    func name(_ body: () throws -> Void) -> String? {
      let error = #expect(throws: LayerError.self) { try body() }
      guard case .invalidArgument(let name, _, _)? = error else { return nil }
      return name
    }
    let exact: [(String, ExactAttentionOptions)] = [
      ("heads", .init(heads: 0)), ("heads", .init(heads: 3)),
      ("keyValueHeads", .init(heads: 4, keyValueHeads: 3)),
      ("keyValueHeads", .init(heads: 4, keyValueHeads: 0)),
      ("headDimension", .init(heads: 2, headDimension: 0)),
      ("headDimension", .init(heads: 8)), ("window", .init(heads: 2, window: 0)),
      ("heads", .init(heads: .max, headDimension: 2)),
      ("headDimension", .init(heads: 2, headDimension: .max - 1)),
    ]
    for (expected, options) in exact {
      #expect(name { try options.validate(hidden: 8) } == expected, "\(options)")
    }
  }
}
