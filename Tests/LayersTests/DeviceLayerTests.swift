import AttentionTensors
import TestSupport
import Testing

@testable import AttentionLayers

/// Layers on a GPU compared with the CPU.
@Suite(.onGPU) struct DeviceLayerTests {
  /// Positions beyond the initial tables, whole groups of pairs and not.
  @Test(arguments: [DType.float32, .bfloat16, .float16, .float64], [8, 6, 34])
  func rotaryTurnsAndTurnsBack(_ dtype: DType, _ dimension: Int) throws {
    let rotary = try RotaryEmbedding(dimension: dimension)
    let wide = try normal([2, 5, 3, dimension], 5).cast(to: dtype).cast(to: .float64).tracked()
    let expected = try rotary(wide, context: TokenContext(batch: 2, length: 5, offset: 300))
    let seed = try normal(expected.shape, 6).cast(to: dtype)
    let gradient = try expected.gradients(of: [wide], seed: seed.cast(to: .float64))[0]
    let context = try TokenContext(batch: 2, length: 5, offset: 300, device: GPU.device)
    let x = try wide.detached().cast(to: dtype).moved(to: GPU.device)
    // A view with heads and tokens exchanged in memory is read by its strides.
    let view = try x.permuted([0, 2, 1, 3]).contiguous().permuted([0, 2, 1, 3])
    // Half precision rounds input, output and gradient once each.
    let bounds: [DType: Double] = [.bfloat16: 6e-3, .float16: 8e-4, .float64: 1e-12]
    let bound = bounds[dtype] ?? 2e-6
    for (name, source) in [("dense", x), ("view", view)] {
      let tracked = source.tracked()
      let turned = try rotary(tracked, context: context)
      #expect(turned.device == GPU.device && turned.dtype == dtype)
      try expectClose(turned, expected, within: bound, "\(name) \(dtype) \(dimension)")
      let actual = try turned.gradients(of: [tracked], seed: seed.moved(to: GPU.device))[0]
      try expectClose(actual, gradient, within: bound, "\(name) \(dtype) \(dimension), gradient")
    }
  }

  @Test func packedPositionsBeginAtZero() throws {
    let ends = try Tensor([0, 2, 2, 6] as [Int32])
    let rotary = try RotaryEmbedding(dimension: 4)
    let x = try normal([1, 6, 2, 4], 3, dtype: .float32)
    func turned(on device: Device) throws -> Tensor {
      try rotary(
        x.moved(to: device),
        context: TokenContext(batch: 1, length: 6, cumulativeLengths: ends, device: device))
    }
    try expectClose(turned(on: GPU.device), turned(on: .cpu), within: 1e-6)
  }

  @Test func embeddingsTakeIndicesOfTheProcessor() throws {
    let embedding = try Embedding(
      count: 5, width: 3,
      scope: ParameterScope(parameters(Embedding.self, on: GPU.device)))
    let tokens = try Tensor([0, 3, 3, 1] as [Int32], [2, 2])
    let rows = try embedding(tokens)
    #expect(rows.device == GPU.device && rows.shape == [2, 2, 3])
    try expectClose(rows, embedding(tokens.moved(to: GPU.device)), within: 0)
    #expect(throws: TensorError.self) { try embedding(Tensor([5] as [Int32])) }
  }

  private func parameters(_ layer: Embedding.Type, on device: Device) throws -> Parameters {
    let scope = ParameterScope(seed: 1)
    _ = try Embedding(count: 5, width: 3, scope: scope)
    return try scope.parameters.moved(to: device)
  }

  /// Output and gradients of every mixer, with packed sequences.
  @Test(arguments: MixerCase.all) func mixersAgreeWithTheProcessor(_ test: MixerCase) throws {
    let parameters = try test.parameters(dtype: .float32)
    let x = try normal([1, 19, MixerCase.hidden], 3, dtype: .float32)
    let ends = try Tensor([0, 7, 7, 8, 19] as [Int32])
    let seed = try normal(x.shape, 4, dtype: .float32)
    func results(on device: Device) throws -> [Tensor] {
      let inputs = try ([x] + parameters.tensors).map { try $0.moved(to: device).tracked() }
      let mixer = try test.make(
        ParameterScope(parameters.replacing(Array(inputs.dropFirst()))))
      let output = try mixer(
        inputs[0],
        context: TokenContext(batch: 1, length: 19, cumulativeLengths: ends, device: device))
      return try [output] + output.gradients(of: inputs, seed: seed.moved(to: device))
    }
    let (actual, expected) = (
      try results(on: GPU.device), try results(on: .cpu)
    )
    for (index, pair) in zip(actual, expected).enumerated() {
      #expect(pair.0.device == GPU.device)
      // The bounds for every kernel, which may be used up on both sides.
      try expectClose(
        pair.0, pair.1, within: index == 0 ? 2e-5 : 2e-4, "\(test.name) result \(index)")
    }
  }

  /// Pieces with padding, continued from states on the device.
  @Test(arguments: RecurrentCase.all) func statesStayOnTheDevice(_ test: RecurrentCase) throws {
    let parameters = try test.mixer.parameters(dtype: .float32)
    let x = try normal([2, 9, MixerCase.hidden], 3, dtype: .float32)
    func results(on device: Device) throws -> Tensor {
      let mixer = try test.mixer.make(ParameterScope(parameters.moved(to: device)))
      var cache: (any MixerCache)? = mixer.makeCache()
      let pieces = try [0..<6, 6..<7, 7..<9].map { piece in
        let mask = try Tensor(
          (0..<2).flatMap { row in piece.map { (row * 2..<5).contains($0) || $0 > 5 } },
          [2, piece.count])
        let context = try TokenContext(
          batch: 2, length: piece.count, offset: piece.lowerBound, paddingMask: mask,
          device: device)
        return try mixer(
          x.sliced(1, piece).moved(to: device), context: context, cache: &cache)
      }
      return try .concatenated(pieces, 1)
    }
    let (actual, expected) = (try results(on: GPU.device), try results(on: .cpu))
    #expect(actual.device == GPU.device)
    for (row, start) in [(0, 0), (1, 2)] {
      func tokens(_ y: Tensor) throws -> Tensor {
        let own = try y.sliced(0, row..<row + 1)
        return try .concatenated([own.sliced(1, start..<5), own.sliced(1, 6..<9)], 1)
      }
      try expectClose(tokens(actual), tokens(expected), within: 2e-5, test.mixer.name)
    }
  }
}
