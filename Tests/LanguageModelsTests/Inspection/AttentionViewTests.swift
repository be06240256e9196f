import AttentionCLibrary
import AttentionLayers
import AttentionTensors
import Testing

@testable import AttentionLanguageModels

@Suite struct AttentionViewTests {
  private let tokens: [Int32] = (0..<19).map { $0 * 5 % 23 }

  @Test func rowsOfExactAttentionAreProbabilities() throws {
    for index in [0, 1, 2, 3] {
      let test = ModelCase.all[index]
      let view = try AttentionView(test.model(), tokens: tokens)
      #expect(view.calls.count == 1 && view.tokenCount == 19)
      let call = try #require(view.calls.first)
      #expect(call.kind == .exact)
      for head in call.heads {
        for row in 0..<19 {
          let numbers = head.map[row * 19..<(row + 1) * 19]
          #expect(abs(numbers.reduce(0, +) - 1) < 1e-5, "\(test.name)")
          #expect(numbers.dropFirst(row + 1).allSatisfy { $0 == 0 }, "\(test.name)")
          #expect(numbers.allSatisfy { $0 >= 0 })
        }
        #expect(head.entropy > 0 && head.entropy < 19.0.squareRoot())
        #expect(head.remembered == Array(head.map.suffix(19)))
        #expect(head.memoryLength == nil)
      }
    }
    // A window of five tokens.
    let windowed = try AttentionView(ModelCase.all[1].model(), tokens: tokens)
    for head in windowed.calls[0].heads {
      #expect(head.map[18 * 19..<18 * 19 + 14].allSatisfy { $0 == 0 })
    }
  }

  /// The map times the values is the output, of every update; so the view of a call is what the layer read.
  @Test(arguments: [
    "gated_linear", "retention", "delta_net", "gated_delta_net", "rwkv7", "lightning",
  ])
  func linearAttentionHasAMapForEachHead(_ name: String) throws {
    let layer = try JSONValue(json5: "{type: \"\(name)\"}").decoded(as: LayerConfiguration.self)
    var configuration = LanguageModelConfiguration(
      hiddenSize: 32, layers: LayerSchedule([layer], repeats: 2))
    configuration.vocabularySize = 23
    let model = try LanguageModel(configuration, scope: ParameterScope(seed: 1, dtype: .float32))
    let view = try AttentionView(model, tokens: tokens)
    #expect(view.calls.count == 2, "\(name)")
    for call in view.calls {
      #expect(call.kind == .linear)
      for head in call.heads {
        #expect(head.map.count == 19 * 19 && head.remembered.count == 19)
        for row in 0..<18 {
          #expect(head.map[row * 19 + row + 1..<(row + 1) * 19].allSatisfy { $0 == 0 })
        }
        #expect(head.map.contains { $0 != 0 } && head.remembered.contains { $0 > 0 }, "\(name)")
        #expect(try #require(head.memoryLength) > 0)
        // With delta rules without a decay nothing decays.
        if name == "delta_net" { #expect(head.memoryLength == .infinity) }
      }
    }
  }

  /// Of lightning attention every number is known: the state after the last token has token s times e^(decay · age).
  @Test func whatAStateRemembersDecays() throws {
    let layer = try JSONValue(json5: "{type: \"retention\"}").decoded(as: LayerConfiguration.self)
    var configuration = LanguageModelConfiguration(hiddenSize: 32, layers: LayerSchedule([layer]))
    configuration.vocabularySize = 23
    let model = try LanguageModel(configuration, scope: ParameterScope(seed: 1, dtype: .float32))
    // One token again and again has the same key, rotated: of the same length.
    let view = try AttentionView(model, tokens: [Int32](repeating: 7, count: 30))
    for head in view.calls[0].heads {
      let length = try #require(head.memoryLength)
      let factor = Float(exp(-1 / length))
      for token in 0..<29 {
        let ratio = head.remembered[token] / head.remembered[token + 1]
        #expect(abs(ratio - factor) < 1e-3, "token \(token), memory of \(length)")
      }
    }
  }

  @Test func theNumberOfTokensIsLimited() throws {
    let model = try ModelCase.all[0].model()
    #expect(throws: GenerationError.self) { try AttentionView(model, tokens: []) }
    #expect(throws: GenerationError.self) { try AttentionView(model, tokens: [23]) }
    #expect(throws: GenerationError.self) {
      try AttentionView(model, tokens: [Int32](repeating: 0, count: 257))
    }
  }
}
