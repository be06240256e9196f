import Testing

@testable import AttentionTraining

@Suite struct BatchTests {
  /// Bytes with the document in the upper four bits and the position in the lower four.
  private static func text(sizes: [Int]) -> PackedText {
    PackedText(
      sizes.enumerated().map { index, size in
        Document(name: "", bytes: (0..<size).map { UInt8(index * 16 + $0 % 16) })
      })
  }

  struct Case: CustomTestStringConvertible {
    let sizes: [Int]
    let windows: Int
    let length: Int
    var testDescription: String { "documents \(sizes), \(windows) windows of \(length)" }
  }

  static let cases = [
    Case(sizes: [10, 3, 17, 2, 40], windows: 3, length: 8),
    Case(sizes: [5], windows: 2, length: 16),
    Case(sizes: [2, 2, 2], windows: 1, length: 1),
    Case(sizes: [33, 1, 9], windows: 4, length: 7),
    Case(sizes: [64], windows: 1, length: 64),
  ]

  /// The (input, target) pairs of a batch by sequence.
  private func sequences(_ batch: Batch) throws -> [[(input: Int32, target: Int32)]] {
    let inputs = try batch.inputs.elements(as: Int32.self)
    let targets = try batch.targets.elements(as: Int32.self)
    let ends = try batch.cumulativeLengths.elements(as: Int32.self).map(Int.init)
    #expect(ends.first == 0)
    #expect(ends.last == inputs.count)
    return zip(ends, ends.dropFirst()).map { start, end in
      (start..<end).map { (inputs[$0], targets[$0]) }
    }
  }

  @Test(arguments: cases)
  func sequencesAreNeighbouringBytesOfOneDocument(_ example: Case) throws {
    let text = Self.text(sizes: example.sizes)
    var batches = try TrainingBatches(
      text, windowsPerBatch: example.windows, length: example.length, seed: 3)
    for _ in 0..<10 {
      let batch = try batches.next()
      #expect(batch.inputs.shape == [1, example.windows * example.length])
      #expect(batch.targets.shape == batch.inputs.shape)
      for sequence in try sequences(batch) {
        #expect(!sequence.isEmpty)
        #expect(sequence.count <= example.length)
        for (input, target) in sequence {
          #expect(input / 16 == target / 16, "a pair reaches into another document")
          #expect((input + 1) % 16 == target % 16, "the target is not the next byte")
        }
        for (pair, next) in zip(sequence, sequence.dropFirst()) {
          #expect(pair.target == next.input, "pairs of a sequence are not neighbours")
        }
      }
    }
  }

  @Test func anEpochReadsEveryPairOnce() throws {
    // 256 distinct bytes, so a pair is identified by its input.
    let bytes = (0..<256).map { UInt8($0) }
    let text = PackedText([
      Document(name: "", bytes: Array(bytes[..<100])),
      Document(name: "", bytes: Array(bytes[100..<130])),
      Document(name: "", bytes: Array(bytes[130...])),
    ])
    #expect(text.pairCount == 253)
    // 11 windows of 23 are 253 pairs.
    var batches = try TrainingBatches(text, windowsPerBatch: 1, length: 23, seed: 0)
    var orders: [[Int32]] = []
    for epoch in 0..<3 {
      var seen: [Int32] = []
      for _ in 0..<11 { seen += try batches.next().inputs.elements(as: Int32.self) }
      #expect(batches.position.epoch == epoch)
      #expect(Set(seen).count == 253)
      orders.append(seen)
    }
    #expect(orders[0] != orders[1])
    #expect(orders[1] != orders[2])
  }

  @Test(arguments: cases)
  func batchesContinueFromAnyPosition(_ example: Case) throws {
    let text = Self.text(sizes: example.sizes)
    var through = try TrainingBatches(
      text, windowsPerBatch: example.windows, length: example.length, seed: 11)
    for _ in 0..<12 {
      var resumed = try TrainingBatches(
        text, windowsPerBatch: example.windows, length: example.length, seed: 11,
        position: through.position)
      let expected = try through.next()
      let batch = try resumed.next()
      #expect(
        try batch.inputs.elements(as: Int32.self) == expected.inputs.elements(as: Int32.self))
      #expect(
        try batch.cumulativeLengths.elements(as: Int32.self)
          == expected.cumulativeLengths.elements(as: Int32.self))
      #expect(resumed.position == through.position)
    }
  }

  @Test func seedsGiveDifferentOrders() throws {
    let text = Self.text(sizes: [50, 60, 70])
    func first(_ seed: UInt64) throws -> [Int32] {
      var batches = try TrainingBatches(text, windowsPerBatch: 4, length: 16, seed: seed)
      return try batches.next().inputs.elements(as: Int32.self)
    }
    #expect(try first(1) == first(1))
    #expect(try first(1) != first(2))
  }

  @Test func impossiblePositionsAndSizesAreRefused() throws {
    let text = Self.text(sizes: [50])
    func make(windows: Int = 1, length: Int = 8, at position: DataPosition) throws {
      _ = try TrainingBatches(
        text, windowsPerBatch: windows, length: length, seed: 0, position: position)
    }
    #expect(throws: TrainingError.self) { try make(at: DataPosition(epoch: 0, window: 8)) }
    #expect(throws: TrainingError.self) { try make(at: DataPosition(epoch: -1, window: 0)) }
    #expect(throws: TrainingError.self) { try make(windows: 0, at: DataPosition()) }
    #expect(throws: TrainingError.self) { try make(length: 0, at: DataPosition()) }
    #expect(throws: TrainingError.self) {
      _ = try TrainingBatches(PackedText([]), windowsPerBatch: 1, length: 8, seed: 0)
    }
  }

  @Test func validationReadsEveryPairOnceOrEvenlySpacedWindows() throws {
    let text = PackedText([
      Document(name: "", bytes: (0..<100).map { UInt8($0) }),
      Document(name: "", bytes: (100..<203).map { UInt8($0) }),
    ])
    let all = ValidationBatches(text, windowsPerBatch: 3, length: 10, tokens: 1_000_000)
    var seen: [Int32] = []
    for number in 0..<all.count {
      for sequence in try sequences(all.batch(number)) {
        for (input, target) in sequence {
          #expect(input + 1 == target)
          seen.append(input)
        }
      }
    }
    #expect(seen.count == text.pairCount)
    #expect(Set(seen).count == text.pairCount)

    let some = ValidationBatches(text, windowsPerBatch: 3, length: 10, tokens: 50)
    #expect(some.starts == [0, 40, 80, 120, 160])
    #expect(ValidationBatches(text, windowsPerBatch: 3, length: 10, tokens: 1).starts == [0])
  }
}
