/// The tokens of a model: text by number, and number by text.
struct Vocabulary: Sendable {
  /// Numbers are below this: more is a damaged file, and would take as much memory.
  static let mostTokens = 1 << 24

  private let table: ByteStringTable
  /// The entry of each number in `table`; −1 for numbers that no token has.
  private let entries: [Int32]

  /// - Parameters:
  ///   - tokens: texts, in any order.
  ///   - numbers: their numbers.
  ///   - source: what errors call the file.
  /// - Throws: ``TokenizerError/invalidValue(source:place:was:mustBe:)`` for a text or number that stands twice, and
  ///   for numbers out of range.
  init(_ tokens: ByteStrings, numbers: [Int], source: String) throws {
    let most = numbers.max() ?? -1
    guard most < Self.mostTokens, numbers.min() ?? 0 >= 0 else {
      throw TokenizerError.invalidValue(
        source: source, place: "a token's number",
        was: "\(numbers.first { !(0..<Self.mostTokens).contains($0) } ?? most)",
        mustBe: "in 0..<\(Self.mostTokens)")
    }
    var entries = [Int32](repeating: -1, count: most + 1)
    for (entry, number) in numbers.enumerated() {
      guard entries[number] < 0 else {
        throw TokenizerError.invalidValue(
          source: source, place: "the number \(number)",
          was: "that of \(tokens.text(Int(entries[number]))) and of \(tokens.text(entry))",
          mustBe: "of one token")
      }
      entries[number] = Int32(entry)
    }
    self.entries = entries
    switch ByteStringTable.make(tokens, values: numbers.map(Int32.init(truncatingIfNeeded:))) {
    case .success(let table): self.table = table
    case .failure(let duplicate):
      throw TokenizerError.invalidValue(
        source: source, place: "the token \(tokens.text(duplicate.entry))", was: "there twice",
        mustBe: "there once")
    }
  }

  /// One more than the largest number.
  var count: Int { entries.count }

  /// The length of the longest token, in bytes.
  var mostBytes: Int { (0..<table.strings.count).map { table.strings.range($0).count }.max() ?? 0 }

  /// The number of a token; −1 if there is none.
  @inline(__always)
  func number(of text: UnsafeBufferPointer<UInt8>) -> Int32 { table.value(of: text) }

  func number(of text: [UInt8]) -> Int32? {
    let number = text.withUnsafeBufferPointer(table.value)
    return number < 0 ? nil : number
  }

  func number(of text: String) -> Int32? { number(of: Array(text.utf8)) }

  /// The text of a token; nil if there is none of this number.
  func text(of number: Int32) -> ArraySlice<UInt8>? {
    guard entries.indices.contains(Int(number)), entries[Int(number)] >= 0 else { return nil }
    return table.strings[Int(entries[Int(number)])]
  }
}
