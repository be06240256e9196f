import Testing

@testable import AttentionTraining

@Suite struct CorpusTests {
  /// Documents of different sizes in which any four bytes identify their document.
  static func documents(sizes: [Int]) -> [Document] {
    sizes.enumerated().map { index, size in
      Document(
        name: "\(index)",
        bytes: (0..<size).map { UInt8(truncatingIfNeeded: index * 37 + ($0 % 4 == 0 ? $0 / 4 : 7)) }
      )
    }
  }

  @Test(arguments: [
    [100, 200, 300, 50, 60, 70, 80, 90, 40], [1, 1, 10, 3], [1000], [2, 2], [500, 500, 500],
    [3, 4000, 5],
  ])
  func everyByteIsOnOneSideAndDocumentsStayWhole(sizes: [Int]) throws {
    let documents = Self.documents(sizes: sizes)
    let fraction = 0.2
    let corpus = try Corpus(documents, validationFraction: fraction)
    let usable = sizes.filter { $0 >= 2 }.reduce(0, +)
    #expect(corpus.training.byteCount + corpus.validation.bytes.count <= usable)
    #expect(corpus.training.byteCount + corpus.validation.bytes.count >= usable - 1)
    #expect(corpus.training.pairCount > 0)
    #expect(corpus.validation.pairCount > 0)
    let budget = max(2, Int(fraction * Double(sizes.reduce(0, +))))
    // Searching for the beginning of a line drops at most half of the part held out.
    #expect((budget / 4...budget).contains(corpus.validation.byteCount))

    let split = Corpus.split(documents, budget: budget)
    let trained = Dictionary(uniqueKeysWithValues: split.training.map { ($0.name, $0.bytes) })
    for heldOut in split.validation {
      let whole = documents[Int(heldOut.name) ?? 0].bytes
      // Either no byte of the document is trained on, or only the bytes before the held-out part.
      #expect(
        (trained[heldOut.name] ?? []) + heldOut.bytes == whole[...], "document \(heldOut.name)")
    }
    #expect(
      Set(split.training.map(\.name) + split.validation.map(\.name)) == Set(documents.map(\.name)))
  }

  @Test func theSplitFollowsTheTextNotItsNameOrPlace() throws {
    let documents = Self.documents(sizes: Array(20...60))
    let renamed = documents.reversed().map { Document(name: "x" + $0.name, bytes: $0.bytes) }
    let first = Corpus.split(documents, budget: 200).validation.map(\.bytes)
    let second = Corpus.split(renamed, budget: 200).validation.map(\.bytes)
    #expect(Set(first) == Set(second))
    #expect(first.count > 1)
  }

  @Test func theFingerprintTellsTextsApart() throws {
    func fingerprint(_ texts: [String]) throws -> String {
      try Corpus(
        texts.map { Document(name: "", bytes: Array($0.utf8)) }, validationFraction: 0.5
      ).fingerprint
    }
    let one = try fingerprint(["some text", "another text"])
    #expect(try fingerprint(["some text", "another text"]) == one)
    #expect(try fingerprint(["some text", "another test"]) != one)
    #expect(try fingerprint(["some texta", "nother text"]) != one)
    #expect(one.count == 16)
  }

  @Test func aSingleDocumentIsCutAtTheBeginningOfALine() throws {
    let lines = (0..<100).map { "line \($0) é\n" }.joined()
    let corpus = try Corpus(
      [Document(name: "a", bytes: Array(lines.utf8))], validationFraction: 0.1)
    #expect(corpus.training.bytes + corpus.validation.bytes == Array(lines.utf8))
    #expect(String(decoding: corpus.validation.bytes, as: UTF8.self).hasPrefix("line "))
    // Without lines, characters stay whole.
    let word = String(repeating: "€", count: 101)
    let cut = try Corpus([Document(name: "a", bytes: Array(word.utf8))], validationFraction: 0.1)
    #expect(cut.validation.bytes.first == Array("€".utf8).first)
  }

  @Test(arguments: [[0], [3], [1, 1, 1, 1], [2, 1]])
  func tooLittleTextIsRefused(sizes: [Int]) {
    #expect(throws: TrainingError.self) {
      _ = try Corpus(Self.documents(sizes: sizes), validationFraction: 0.1)
    }
  }

  @Test(arguments: [0, -0.1, 0.6, Double.nan])
  func fractionsOutsideTheRangeAreRefused(fraction: Double) {
    #expect(throws: TrainingError.self) {
      _ = try Corpus(Self.documents(sizes: [100]), validationFraction: fraction)
    }
  }
}

extension PackedText {
  /// Tokens that are bytes.
  fileprivate var bytes: [UInt8] { if case .bytes(let bytes) = tokens { bytes } else { [] } }
}
