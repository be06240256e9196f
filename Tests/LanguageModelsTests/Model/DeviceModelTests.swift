import AttentionLayers
import AttentionTensors
import TestSupport
import Testing

@testable import AttentionLanguageModels

/// Models with parameters on a GPU.
@Suite(.onGPU) struct DeviceModelTests {
  /// The difference that float32 rounding in two orders of computation may make after a few layers; gradients
  /// may differ by ten times as much.
  private let tolerance = 2e-5

  private func model(_ test: ModelCase, dtype: DType = .float32) throws -> LanguageModel {
    let scope = ParameterScope(seed: 1)
    _ = try LanguageModel(test.configuration, scope: scope)
    return try LanguageModel(
      test.configuration,
      parameters: scope.parameters.mapping { try $0.cast(to: dtype) }.moved(to: GPU.device))
  }

  @Test(arguments: ModelCase.all) func logitsAreThoseOfTheProcessor(_ test: ModelCase) throws {
    let tokens = try test.tokens(2, 21)
    let expected = try test.model()(tokens)
    let model = try model(test)
    #expect(model.device == GPU.device)
    let logits = try model(tokens)
    #expect(logits.device == GPU.device)
    #expect(try relativeError(logits, expected) < tolerance, "\(test.name)")
    let moved = try model(tokens.moved(to: GPU.device))
    #expect(try relativeError(moved, logits) == 0, "\(test.name), tokens on the device")
  }

  @Test(arguments: ModelCase.all) func lossAndGradientsAreThoseOfTheProcessor(
    _ test: ModelCase
  ) throws {
    let scope = ParameterScope(seed: 1)
    _ = try LanguageModel(test.configuration, scope: scope)
    let tokens = try test.tokens(1, 17)
    let targets = try test.tokens(1, 17, seed: 3).elements(as: Int32.self)
    let counted = try Tensor(targets.indices.map { $0 % 5 == 0 ? -1 : targets[$0] }, [1, 17])
    let ends = try Tensor([0, 6, 6, 17] as [Int32])
    func results(on device: Device) throws -> [Tensor] {
      let parameters = try scope.parameters.moved(to: device).tracked()
      let loss = try LanguageModel(test.configuration, parameters: parameters)
        .loss(tokens: tokens, targets: counted, cumulativeLengths: ends)
      return try [loss] + loss.gradients(of: parameters.tensors)
    }
    let pairs = zip(try results(on: GPU.device), try results(on: .cpu))
    for (index, pair) in pairs.enumerated() {
      #expect(
        try relativeError(pair.0, pair.1) < tolerance * (index == 0 ? 1 : 10),
        "\(test.name) result \(index)")
    }
  }

  @Test(arguments: ModelCase.all, [[Int](repeating: 1, count: 12), [7, 1, 3, 1]])
  func piecesGiveTheLogitsOfTheWhole(_ test: ModelCase, _ schedule: [Int]) throws {
    let model = try model(test)
    let tokens = try test.tokens(2, 12)
    let whole = try model(tokens)
    var cache = model.makeCache()
    var start = 0
    let pieces = try schedule.map { size in
      defer { start += size }
      return try model.step(tokens.sliced(1, start..<start + size), cache: &cache)
    }
    #expect(pieces.allSatisfy { $0.device == GPU.device })
    let error = try relativeError(.concatenated(pieces, 1), whole)
    #expect(error < tolerance, "\(test.name), calls of \(schedule)")
  }

  @Test(arguments: ModelCase.all) func paddingChangesNothing(_ test: ModelCase) throws {
    let model = try model(test)
    let tokens = try test.tokens(1, 9)
    let whole = try model(tokens)
    let padding = 4
    let padded = try Tensor.concatenated([.zeros([1, padding], dtype: .int32), tokens], 1)
    let mask = try Tensor((0..<padding + 9).map { $0 >= padding }, [1, padding + 9])
    let logits = try model(padded, paddingMask: mask).sliced(1, padding..<padding + 9)
    // Rotary angles of later positions round differently.
    #expect(try relativeError(logits, whole) < tolerance, "\(test.name)")
    var cache = model.makeCache()
    _ = try model.step(
      padded.sliced(1, 0..<8), cache: &cache, paddingMask: mask.sliced(1, 0..<8))
    let rest = try model.step(padded.sliced(1, 8..<padding + 9), cache: &cache)
    #expect(try relativeError(rest, whole.sliced(1, 4..<9)) < tolerance, "\(test.name), cached")
  }

  @Test func halfPrecisionIsThatOfTheProcessor() throws {
    for test in ModelCase.all {
      let tokens = try test.tokens(1, 20)
      let exact = try test.model()(tokens)
      let logits = try model(test, dtype: .bfloat16)(tokens)
      #expect(logits.dtype == .bfloat16)
      let host = try LanguageModel(
        test.configuration,
        parameters: {
          let scope = ParameterScope(seed: 1)
          _ = try LanguageModel(test.configuration, scope: scope)
          return try scope.parameters.mapping { try $0.cast(to: .bfloat16) }
        }())(tokens)
      // As accurate as the CPU, both compared with float32.
      #expect(
        try relativeError(logits, exact) < 2 * relativeError(host, exact), "\(test.name)")
    }
  }

  @Test func generationGivesTheSameTokens() throws {
    let test = ModelCase.all[ModelCase.all.count - 1]
    var options = GenerationOptions(maximumTokens: 24)
    options.prefillLength = 5
    options.temperature = 0
    let prompt = try test.tokens(1, 7).elements(as: Int32.self)
    let expected = try test.model().generate(prompt: prompt, options: options)
    #expect(try model(test).generate(prompt: prompt, options: options) == expected)
  }
}
