import AttentionCLibrary

/// A compiled regular expression over UTF-8.
///
/// It backtracks, as the expressions of tokenizers are defined: the first alternative that leads to a match wins. On
/// published patterns it takes a few steps a character; the number of steps is limited, so that no pattern or text
/// takes for ever.
final class RegularExpression: @unchecked Sendable {
  // Immutable after the initialiser, which is what makes the class safe to share.

  let pattern: String
  let instructions: UnsafeMutableBufferPointer<RegularExpressionInstruction>
  /// 256 elements a class: `ScalarSet.Membership` by first byte.
  let memberships: UnsafeMutableBufferPointer<UInt8>
  /// The class's bits, in blocks of 256 scalars, as in ``ScalarTable``: 0x1100 block numbers a class.
  let blocks: UnsafeMutableBufferPointer<UInt32>
  let words: UnsafeMutableBufferPointer<UInt64>
  /// 257 masks a table.
  let masks: UnsafeMutableBufferPointer<UInt64>
  /// 64 instruction numbers a table.
  let starts: UnsafeMutableBufferPointer<Int32>
  /// Whether a match can begin with a byte.
  let first: UnsafeMutableBufferPointer<Bool>
  let canBeEmpty: Bool
  /// What `\b` tests.
  let wordTable: ScalarTable

  private static let words = ScalarTable(.words)
  private static let onigurumaWords = ScalarTable(.onigurumaWords)

  static let blocksPerClass = 0x1100
  static let masksPerTable = 257
  static let startsPerTable = 64

  /// - Parameters:
  ///   - pattern: the regular expression; ``RegularExpressionParser`` lists its syntax.
  ///   - dialect: the library whose meaning it has.
  /// - Throws: ``TokenizerError/pattern(_:reason:)``.
  init(_ pattern: String, dialect: RegularExpressionDialect) throws {
    self.pattern = pattern
    let node = try RegularExpressionParser.parse(pattern, dialect: dialect)
    let program = try RegularExpressionProgram(node, pattern: pattern)
    instructions = .copy(of: program.instructions)
    memberships = .copy(of: program.classes.flatMap { $0.firstBytes.map(\.rawValue) })
    var blocks: [UInt32] = []
    var words: [UInt64] = []
    for set in program.classes {
      let table = ScalarTable(set)
      blocks += table.blocks.map { UInt32($0) << 2 + UInt32(words.count) }
      words += table.words
    }
    self.blocks = .copy(of: blocks)
    self.words = .copy(of: words)
    masks = .copy(of: program.tables.flatMap(\.masks))
    starts = .copy(
      of: program.tables.flatMap { table in
        table.starts + [Int32](repeating: 0, count: Self.startsPerTable - table.starts.count)
      })
    let first = node.first
    canBeEmpty = first.isOpen
    self.first = .copy(of: first.scalars.firstBytes.map { $0 != .none || first.isOpen })
    wordTable = dialect == .oniguruma ? Self.onigurumaWords : Self.words
  }

  deinit {
    instructions.deallocate()
    memberships.deallocate()
    blocks.deallocate()
    words.deallocate()
    masks.deallocate()
    starts.deallocate()
    first.deallocate()
  }

  /// Appends the start and the end of each match in `text` to `bounds`, from left to right. An empty match where the
  /// last one ended does not count.
  ///
  /// - Parameters:
  ///   - text: valid UTF-8.
  ///   - bounds: offsets in bytes, two for each match.
  /// - Throws: ``TokenizerError/tooManySteps(pattern:limit:)``.
  func appendMatches(
    in text: UnsafeBufferPointer<UInt8>, to bounds: inout [UInt32]
  ) throws(TokenizerError) {
    var matcher = RegularExpressionMatcher(self, text)
    var start = 0
    var lastEnd = -1
    while start <= text.count {
      if start < text.count ? !first[Int(text[start])] : !canBeEmpty {
        start += start < text.count ? text.lengthOfScalar(at: start) : 1
        continue
      }
      let end = try matcher.match(at: start)
      if end < 0 || end == start && start == lastEnd {
        start += start < text.count ? text.lengthOfScalar(at: start) : 1
      } else {
        bounds.append(UInt32(truncatingIfNeeded: start))
        bounds.append(UInt32(truncatingIfNeeded: end))
        lastEnd = end
        start = end
      }
    }
  }
}

extension UnsafeMutableBufferPointer {
  /// A copy in memory of its own, which the caller frees.
  static func copy(of elements: [Element]) -> UnsafeMutableBufferPointer {
    let copy = allocate(capacity: elements.count)
    _ = copy.initialize(from: elements)
    return copy
  }
}

extension UnsafeBufferPointer<UInt8> {
  /// The number of bytes of the scalar that begins at `offset`, of valid UTF-8.
  @inline(__always)
  func lengthOfScalar(at offset: Int) -> Int {
    let byte = self[offset]
    return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4
  }

  /// The scalar of `length` bytes that begins at `offset`, of valid UTF-8.
  @inline(__always)
  func scalar(at offset: Int, length: Int) -> UInt32 {
    let first = UInt32(self[offset])
    if length == 1 { return first }
    let second = UInt32(self[offset + 1]) & 0x3F
    if length == 2 { return (first & 0x1F) << 6 | second }
    let third = UInt32(self[offset + 2]) & 0x3F
    if length == 3 { return (first & 0xF) << 12 | second << 6 | third }
    return (first & 7) << 18 | second << 12 | third << 6 | UInt32(self[offset + 3]) & 0x3F
  }

  /// Where the scalar begins that ends before `offset`, of valid UTF-8.
  @inline(__always)
  func startOfScalar(before offset: Int) -> Int {
    var start = offset - 1
    while self[start] & 0xC0 == 0x80 { start -= 1 }
    return start
  }
}
