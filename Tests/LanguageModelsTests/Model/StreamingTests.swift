import AttentionTensors
import TestSupport
import Testing

@testable import AttentionLanguageModels

/// The difference that float32 rounding in two orders of computation may make after a few layers.
private let tolerance = 2e-5

@Suite struct StreamingTests {
  /// The sizes of the calls that process a sequence of 21 tokens.
  private static let schedules: [[Int]] = [
    [Int](repeating: 1, count: 21), [21], [13] + [Int](repeating: 1, count: 8), [4, 4, 4, 4, 4, 1],
    [1, 9, 2, 9],
  ]

  @Test(arguments: ModelCase.all) func piecesGiveTheLogitsOfTheWhole(_ test: ModelCase) throws {
    let model = try test.model()
    let tokens = try test.tokens(2, 21)
    let whole = try model(tokens)
    for schedule in Self.schedules {
      var cache = model.makeCache()
      var start = 0
      let pieces = try schedule.map { size in
        defer { start += size }
        return try model.step(tokens.sliced(1, start..<start + size), cache: &cache)
      }
      let error = try relativeError(.concatenated(pieces, 1), whole)
      #expect(error < tolerance, "\(test.name), calls of \(schedule)")
      #expect(cache.tokenCount == 21)
    }
  }

  @Test(arguments: ModelCase.all) func aCopiedCacheIsAnIndependentContinuation(
    _ test: ModelCase
  ) throws {
    let model = try test.model()
    let tokens = try test.tokens(1, 12)
    let other = try test.tokens(1, 12, seed: 9)
    var cache = model.makeCache()
    _ = try model.step(tokens.sliced(1, 0..<8), cache: &cache)
    var copy = cache
    _ = try model.step(other.sliced(1, 8..<12), cache: &copy)
    let rest = try model.step(tokens.sliced(1, 8..<12), cache: &cache)
    let whole = try model(tokens).sliced(1, 8..<12)
    #expect(try relativeError(rest, whole) < tolerance, "\(test.name)")
  }

  @Test(arguments: ModelCase.all) func onlyTheLastLogitsAreTheLastOnes(_ test: ModelCase) throws {
    let model = try test.model()
    let tokens = try test.tokens(2, 9)
    var cache = model.makeCache()
    let last = try model.step(tokens, cache: &cache, onlyLast: true)
    #expect(try relativeError(last, model(tokens).sliced(1, 8..<9)) < tolerance, "\(test.name)")
  }

  @Test(arguments: ModelCase.all) func leftPaddingChangesNothing(_ test: ModelCase) throws {
    let model = try test.model()
    let tokens = try test.tokens(1, 14)
    let whole = try model(tokens)
    let padding = 5
    let padded = try Tensor.concatenated([test.tokens(1, padding, seed: 7), tokens], 1)
    let mask = try Tensor((0..<padding + 14).map { $0 >= padding }, [1, padding + 14])
    let logits = try model(padded, paddingMask: mask).sliced(1, padding..<padding + 14)
    #expect(try relativeError(logits, whole) < tolerance, "\(test.name), at once")

    // In pieces, with the padding in the first.
    var cache = model.makeCache()
    var pieces: [Tensor] = []
    for range in [0..<8, 8..<9, 9..<19] {
      let given = range.lowerBound == 0 ? try mask.sliced(1, range) : nil
      pieces.append(
        try model.step(padded.sliced(1, range), cache: &cache, paddingMask: given))
    }
    let streamed = try Tensor.concatenated(pieces, 1).sliced(1, padding..<padding + 14)
    #expect(try relativeError(streamed, whole) < tolerance, "\(test.name), in pieces")
  }

  @Test(arguments: ModelCase.all) func packedSequencesAreSeparate(_ test: ModelCase) throws {
    let model = try test.model()
    let lengths = [7, 1, 0, 12]
    let sequences = try lengths.enumerated().map {
      try test.tokens(1, $0.element, seed: UInt64($0.offset))
    }
    let separate = try sequences.filter { $0.elementCount > 0 }.map { try model($0) }
    let ends = lengths.reduce(into: [Int32(0)]) { $0.append($0[$0.count - 1] + Int32($1)) }
    let packed = try model(
      Tensor.concatenated(sequences, 1), cumulativeLengths: Tensor(ends))
    #expect(
      try relativeError(packed, .concatenated(separate, 1)) < tolerance, "\(test.name)")
  }

  @Test func memoryStaysConstantWhereItCan() throws {
    for test in ModelCase.all {
      let model = try test.model()
      let tokens = try test.tokens(1, 120)
      var cache = model.makeCache()
      _ = try model.step(tokens.sliced(1, 0..<40), cache: &cache)
      var most = 0
      for place in 40..<120 {
        _ = try model.step(tokens.sliced(1, place..<place + 1), cache: &cache)
        if place == 60 { most = cache.byteCount }
      }
      let grows = test.configuration.layers.layers.contains {
        switch $0.mixer {
        case let softmax as SoftmaxConfiguration: softmax.options.window == nil
        case let cosine as CosineConfiguration: cosine.options.window == nil
        default: false
        }
      }
      #expect((cache.byteCount > most) == grows, "\(test.name)")
    }
  }
}
