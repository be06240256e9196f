import AttentionTensors
import Testing

@testable import AttentionLayers

@Suite struct ShortConvolutionLayerTests {
  private func normal(_ shape: Shape, _ label: String) throws -> Tensor {
    var generator = Philox(seed: 6, label: label)
    return try .normal(shape, using: &generator)
  }

  private func layer() throws -> ShortConvolution {
    try ShortConvolution(channels: 3, hasBias: true, scope: ParameterScope(seed: 1)["conv"])
  }

  @Test func tokenByTokenIsTheWhole() throws {
    let (layer, x) = (try layer(), try normal([2, 6, 3], "x"))
    let whole = try layer(x, context: TokenContext(batch: 2, length: 6))
    var state: Tensor?
    var outputs: [Tensor] = []
    for token in 0..<6 {
      let context = try TokenContext(batch: 2, length: 1, offset: token)
      outputs.append(
        try layer(x.sliced(1, token..<token + 1), context: context, state: &state))
      #expect(state?.shape == [2, 3, 3])
    }
    #expect(
      try Tensor.concatenated(outputs, 1).elements(as: Float.self)
        == whole.elements(as: Float.self))
  }

  @Test func packedSequencesAndPaddingAreApart() throws {
    let (layer, x) = (try layer(), try normal([1, 6, 3], "x"))
    let alone = try layer(
      x.sliced(1, 4..<6), context: TokenContext(batch: 1, length: 2)
    ).elements(as: Float.self)
    let lengths = try Tensor([0, 4, 4, 6] as [Int32])
    let packed = try layer(
      x, context: TokenContext(batch: 1, length: 6, cumulativeLengths: lengths))
    #expect(try packed.sliced(1, 4..<6).elements(as: Float.self) == alone)
    let mask = try Tensor([false, false, false, false, true, true], [1, 6])
    let padded = try layer(
      x, context: TokenContext(batch: 1, length: 6, paddingMask: mask))
    #expect(try padded.sliced(1, 4..<6).elements(as: Float.self) == alone)
  }

  @Test func parametersAndMistakes() throws {
    let scope = ParameterScope(seed: 0)
    _ = try ShortConvolution(channels: 3, width: 2, hasBias: true, scope: scope["conv"])
    #expect(scope.parameters.paths == ["conv.weight", "conv.bias"])
    #expect(scope.parameters.tensors.map(\.shape) == [[3, 1, 2], [3]])
    for width in [1, 5] {
      #expect(throws: LayerError.self) {
        try ShortConvolution(channels: 3, width: width, scope: ParameterScope(seed: 0))
      }
    }
    let (layer, context) = (try layer(), try TokenContext(batch: 1, length: 2))
    #expect(throws: LayerError.self) { try layer(.zeros([1, 2, 4]), context: context) }
    #expect(throws: LayerError.self) { try layer(.zeros([1, 3, 3]), context: context) }
  }
}
