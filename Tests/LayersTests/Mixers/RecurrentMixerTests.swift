import AttentionTensors
import TestSupport
import Testing

@testable import AttentionLayers

/// A mixer with states of constant size, and its definition: the outputs of one sequence of tokens.
struct RecurrentCase: Sendable, CustomTestStringConvertible {
  let mixer: MixerCase
  /// Whether padding between tokens moves them apart.
  var dependsOnPositions: Bool {
    mixer.name.hasPrefix("retention") || mixer.name.hasPrefix("latent")
      || mixer.name.hasSuffix("windowed")
  }
  let definition: @Sendable (NaiveParameters, [[Double]]) -> [[Double]]
  static let hidden = MixerCase.hidden
  /// Large, so that norms of small outputs have small third derivatives, which finite differences neglect.
  static let normEpsilon = 0.25

  init<Mixer: ConfiguredMixer>(
    _ name: String, _ type: Mixer.Type, _ options: Mixer.Options,
    _ definition: @escaping @Sendable (NaiveParameters, [[Double]]) -> [[Double]]
  ) {
    mixer = MixerCase(name: name) {
      try Mixer(hidden: Self.hidden, options: options, scope: $0)
    }
    self.definition = definition
  }

  init(
    _ name: String, make: @escaping @Sendable (ParameterScope) throws -> any TokenMixer,
    definition: @escaping @Sendable (NaiveParameters, [[Double]]) -> [[Double]]
  ) {
    mixer = MixerCase(name: name, make: make)
    self.definition = definition
  }

  var testDescription: String { mixer.name }

  static let all: [RecurrentCase] =
    gatedDeltaNets + mambas + additive + erasing + rwkv + scans + forgetting + latent

  /// The outputs for `x`, float64 [batch, length, hidden], by definition.
  func defined(_ x: Tensor) throws -> Tensor {
    let naive = try NaiveParameters(mixer.parameters())
    let rows = try x.elements(as: Double.self).parts(x.shape[0])
    let outputs = rows.flatMap { definition(naive, $0.parts(x.shape[1])) }
    return try Tensor(outputs.flatMap { $0 }, x.shape)
  }

  func layer(dtype: DType) throws -> any TokenMixer {
    let scope = ParameterScope(try mixer.parameters(dtype: dtype), dtype: dtype)
    let layer = try mixer.make(scope)
    try scope.requireAllUsed()
    return layer
  }
}

@Suite struct RecurrentMixerTests {
  private let hidden = RecurrentCase.hidden

  @Test(arguments: RecurrentCase.all) func outputsAreThoseOfTheDefinition(_ test: RecurrentCase)
    throws
  {
    let x = try normal([2, 19, hidden], 5)
    let expected = try test.defined(x)
    let exact = try test.layer(dtype: .float64)
    try expectClose(exact(x), expected, within: 1e-12, test.mixer.name)
    let rounded = try test.layer(dtype: .float32)
    try expectClose(rounded(x.cast(to: .float32)), expected, within: 1e-5, test.mixer.name)
  }

  /// At most sixteen tensors are rounded on the way from the tokens to the outputs, each with an error of 2⁻⁹/√3
  /// (RMS, relative): as if they all added up.
  @Test(arguments: RecurrentCase.all) func halfPrecisionIsClose(_ test: RecurrentCase) throws {
    let x = try normal([1, 13, hidden], 9).cast(to: .bfloat16)
    let rounded = try test.layer(dtype: .bfloat16)
    let parameters = try test.mixer.parameters(dtype: .bfloat16)
    let exact = try test.mixer.make(
      ParameterScope(parameters.mapping { try $0.cast(to: .float64) }, dtype: .float64))
    let output = try rounded(x)
    #expect(output.dtype == .bfloat16)
    try expectClose(
      output, exact(x.cast(to: .float64)), within: 16 * 0x1p-9 / 3.0.squareRoot(),
      test.mixer.name)
  }

  @Test(arguments: RecurrentCase.all) func piecesAreTheWhole(_ test: RecurrentCase) throws {
    let mixer = try test.layer(dtype: .float32)
    let x = try normal([2, 11, hidden], 6, dtype: .float32)
    let whole = try mixer(x)
    for cuts in [[0, 5, 6, 6, 11], Array(0...11)] {
      var cache: (any MixerCache)? = mixer.makeCache()
      let pieces = try zip(cuts, cuts.dropFirst()).map { start, end in
        let context = try TokenContext(batch: 2, length: end - start, offset: start)
        return try mixer(x.sliced(1, start..<end), context: context, cache: &cache)
      }
      try expectClose(.concatenated(pieces, 1), whole, within: 1e-5, "\(test.mixer.name), \(cuts)")
      #expect(cache?.tokenCount == 11)
      #expect((cache?.byteCount ?? 0) > 0)
    }
  }

  @Test(arguments: RecurrentCase.all) func packedSequencesAreApart(_ test: RecurrentCase) throws {
    let mixer = try test.layer(dtype: .float32)
    let x = try normal([1, 12, hidden], 7, dtype: .float32)
    let ends = [0, 5, 5, 6, 12]
    let context = try TokenContext(
      batch: 1, length: 12, cumulativeLengths: Tensor(ends.map(Int32.init)))
    let packed = try mixer(x, context: context)
    for (start, end) in zip(ends, ends.dropFirst()) where end > start {
      try expectClose(
        packed.sliced(1, start..<end), mixer(x.sliced(1, start..<end)), within: 1e-5,
        "\(test.mixer.name), \(start)..<\(end)")
    }
  }

  /// Padding before the first token or after the last one of a piece neither writes a state nor decays it.
  @Test(arguments: RecurrentCase.all) func paddingIsSkipped(_ test: RecurrentCase) throws {
    let mixer = try test.layer(dtype: .float32)
    let x = try normal([1, 9, hidden], 8, dtype: .float32)
    for (tokens, pieces) in [
      ([3..<7], [0..<9]), ([3..<9], [0..<2, 2..<6, 6..<9]), ([1..<3, 6..<9], [0..<6, 6..<9]),
    ] where tokens.count == 1 || !test.dependsOnPositions {
      var cache: (any MixerCache)? = mixer.makeCache()
      let outputs = try pieces.map { piece in
        let mask = try Tensor(
          piece.map { token in tokens.contains { $0.contains(token) } }, [1, piece.count])
        let context = try TokenContext(
          batch: 1, length: piece.count, offset: piece.lowerBound, paddingMask: mask)
        return try mixer(x.sliced(1, piece), context: context, cache: &cache)
      }
      let padded = try Tensor.concatenated(outputs, 1)
      let actual = try Tensor.concatenated(tokens.map { try padded.sliced(1, $0) }, 1)
      let alone = try Tensor.concatenated(tokens.map { try x.sliced(1, $0) }, 1)
      try expectClose(actual, mixer(alone), within: 1e-5, "\(test.mixer.name), \(tokens)")
    }
  }
}
