import AttentionTensors
import Testing

@testable import AttentionTokenizers

@Suite struct BytePairTests {
  /// A merger of random pairs of the symbols 0, 1 and 2 and what they become.
  private func random(_ generator: inout Philox) -> (merger: BytePairMerger, merges: [[Int32]]) {
    var merges: [[Int32]] = []
    var known: [Int32] = [0, 1, 2]
    let count = generator.next(below: 12)
    var table = MergeTable(capacity: count)
    for rank in 0..<count {
      let left = known[generator.next(below: known.count)]
      let right = known[generator.next(below: known.count)]
      guard !merges.contains(where: { $0[0] == left && $0[1] == right }) else { continue }
      let symbol = Int32(known.count)
      known.append(symbol)
      merges.append([left, right, symbol])
      table.insert(left, right, .init(rank: UInt32(rank), symbol: symbol))
    }
    return (BytePairMerger(table: table), merges)
  }

  /// The definition: again and again the earliest merge that applies, at its leftmost place.
  private func naive(_ symbols: [Int32], _ merges: [[Int32]]) -> [Int32] {
    var symbols = symbols
    while true {
      var isMerged = false
      for merge in merges {
        let place = symbols.indices.dropLast().first {
          symbols[$0] == merge[0] && symbols[$0 + 1] == merge[1]
        }
        guard let place else { continue }
        symbols.replaceSubrange(place...place + 1, with: [merge[2]])
        isMerged = true
        break
      }
      if !isMerged { return symbols }
    }
  }

  @Test func mergesAreThoseOfTheDefinition() {
    var generator = Philox(seed: 11)
    var scratch = ModelScratch()
    for round in 0..<200 {
      let (merger, merges) = random(&generator)
      // Some longer than what is searched without a heap.
      let length = round % 3 == 0 ? 65 + generator.next(below: 80) : generator.next(below: 30)
      let symbols = (0..<length).map { _ in Int32(generator.next(below: 3)) }
      scratch.symbols = symbols
      merger.merge(&scratch)
      #expect(scratch.symbols == naive(symbols, merges), "\(symbols) \(merges)")
    }
  }

  @Test func longPiecesTakeLittleTime() {
    var table = MergeTable(capacity: 20)
    for rank in 0..<20 {
      table.insert(Int32(rank), Int32(rank), .init(rank: UInt32(rank), symbol: Int32(rank + 1)))
    }
    var scratch = ModelScratch()
    scratch.symbols = Array(repeating: 0, count: 1 << 18)
    BytePairMerger(table: table).merge(&scratch)
    #expect(scratch.symbols == [18])
  }

  @Test func aHeapSorts() {
    var generator = Philox(seed: 2)
    let numbers = (0..<500).map { _ in generator.next(below: 100) }
    var heap = Heap<Int>()
    for number in numbers { heap.insert(number) }
    var sorted: [Int] = []
    while let number = heap.popFirst() { sorted.append(number) }
    #expect(sorted == numbers.sorted())
  }

  @Test func aTableFindsWhatIsInIt() {
    var generator = Philox(seed: 4)
    var strings = ByteStrings()
    var expected: [[UInt8]: Int32] = [:]
    while expected.count < 2000 {
      let text = (0..<generator.next(below: 12)).map { _ in UInt8(generator.next(below: 4)) }
      if expected.updateValue(Int32(strings.count), forKey: text) == nil {
        strings.append(text)
      } else {
        expected[text] = (0..<Int32(strings.count)).first { Array(strings[Int($0)]) == text }
      }
      if strings.count > 1500 { break }
    }
    let values = (0..<Int32(strings.count)).map { $0 }
    guard case .success(let table) = ByteStringTable.make(strings, values: values) else {
      Issue.record("duplicates")
      return
    }
    for index in 0..<strings.count {
      #expect(Array(strings[index]).withUnsafeBufferPointer(table.value) == Int32(index))
    }
    #expect([9, 9].withUnsafeBufferPointer(table.value) == -1)
  }

  /// Pieces of many lengths, more than the cache has slots for.
  @Test func theCacheChangesNothing() throws {
    let tokenizer = try TextTokenizer(
      TokenizerJSON.read(Array(TinyTokenizer.byteLevel.utf8), source: "test"))
    var generator = Philox(seed: 6)
    let words = (0..<20_000).map { _ in
      String(
        (0..<1 + generator.next(below: 9)).map { _ in generator.next(below: 2) == 0 ? "a" : "b" })
    }
    let first = try words.map { try tokenizer.encode($0) }
    for (word, tokens) in zip(words, first) {
      #expect(tokenizer.decode(tokens) == word)
      #expect(try tokenizer.encode(word) == tokens)
    }
  }
}
