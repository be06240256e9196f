/// Reads a file of `tiktoken`: on each line a token in base 64 and its rank, which is also its number.
struct TiktokenFile {
  private let source: String
  private var tokens = ByteStrings()
  private var ranks: [Int] = []

  /// Longer tokens, in bytes, are a damaged file; the time for merges grows with their square.
  private static let mostBytes = 1 << 12

  /// Whether a file of unknown kind may be one: a word of base 64, a space, and a number.
  static func looksLikeOne(_ bytes: [UInt8]) -> Bool {
    let line = bytes.prefix { $0 != UInt8(ascii: "\n") }.prefix(mostBytes)
    let words = line.split(separator: UInt8(ascii: " "))
    return words.count == 2 && Base64.decode(words[0]) != nil
      && Int(String(decoding: words[1], as: UTF8.self)) != nil
  }

  /// - Throws: ``TokenizerError/syntax(source:reason:)`` with the line.
  init(_ bytes: [UInt8], source: String) throws {
    self.source = source
    for (index, line) in bytes.split(separator: UInt8(ascii: "\n")).enumerated() {
      let words = line.split(separator: UInt8(ascii: " "))
      guard words.count == 2, let token = Base64.decode(words[0]), !token.isEmpty,
        let rank = Int(String(decoding: words[1], as: UTF8.self))
      else {
        throw TokenizerError.syntax(
          source: source, reason: "line \(index + 1) is not a token in base 64 and its rank")
      }
      guard token.count <= Self.mostBytes else {
        throw TokenizerError.syntax(
          source: source,
          reason: "the token of line \(index + 1) has more than \(Self.mostBytes) bytes")
      }
      tokens.append(token)
      ranks.append(rank)
    }
  }

  /// The number of tokens, special ones not counted.
  var count: Int { tokens.count }

  /// The tokenizer of an encoding with these tokens.
  ///
  /// Two neighbouring tokens merge if both together are a token; the rank of that tells when.
  func parts(_ encoding: TiktokenEncoding) throws -> TextTokenizer.Parts {
    // Whole bytes in the alphabet of visible characters, for a model of characters.
    var texts = ByteStrings()
    for index in 0..<tokens.count {
      var text: [UInt8] = []
      for byte in tokens[index] { ByteAlphabet.append(byte, to: &text) }
      texts.append(text)
    }
    let vocabulary = try Vocabulary(texts, numbers: ranks, source: source)
    for byte in UInt8.min ... .max {
      var text: [UInt8] = []
      ByteAlphabet.append(byte, to: &text)
      guard vocabulary.number(of: text) != nil else {
        throw TokenizerError.invalidValue(
          source: source, place: "the token of byte \(byte)", was: "absent", mustBe: "there")
      }
    }
    var options = BytePairEncoding.Options()
    options.ignoresMerges = true
    let model = BytePairEncoding(vocabulary, merges: merges(texts, vocabulary), options: options)
    let pattern = try RegularExpression(encoding.pattern, dialect: .rust)
    return TextTokenizer.Parts(
      model: model, addedTokens: encoding.specialTokens,
      preTokenizer: .sequence([
        .split(.pattern(pattern), .removed, isInverted: true),
        .byteLevel(prefix: false, pattern: nil),
      ]),
      decoder: [ByteLevelDecoder()])
  }

  private func merges(_ texts: ByteStrings, _ vocabulary: Vocabulary) -> MergeTable {
    var merges: [(left: Int32, right: Int32, rank: Int)] = []
    texts.bytes.withUnsafeBufferPointer { bytes in
      for index in 0..<texts.count {
        let range = texts.range(index)
        var cut = range.lowerBound + bytes.lengthOfScalar(at: range.lowerBound)
        while cut < range.upperBound {
          let left = vocabulary.number(of: .init(rebasing: bytes[range.lowerBound..<cut]))
          let right =
            left < 0 ? -1 : vocabulary.number(of: .init(rebasing: bytes[cut..<range.upperBound]))
          if right >= 0 { merges.append((left, right, ranks[index])) }
          cut += bytes.lengthOfScalar(at: cut)
        }
      }
    }
    var table = MergeTable(capacity: merges.count)
    for (left, right, rank) in merges {
      table.insert(left, right, .init(rank: UInt32(rank), symbol: Int32(rank)))
    }
    return table
  }
}
