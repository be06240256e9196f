import AttentionTensors
import TestSupport
import Testing

@testable import AttentionTokenizers

@Suite struct VocabularyFileTests {
  private let folder = TemporaryFolder()

  // MARK: tiktoken

  private static let alphabet = Array(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

  private static func base64(_ bytes: [UInt8]) -> String {
    var text: [UInt8] = []
    for start in stride(from: 0, to: bytes.count, by: 3) {
      let part = bytes[start...].prefix(3)
      let bits = part.reduce(0) { $0 << 8 | Int($1) } << (8 * (3 - part.count))
      for place in 0..<4 {
        text.append(
          place <= part.count ? alphabet[bits >> (18 - 6 * place) & 63] : UInt8(ascii: "="))
      }
    }
    return String(decoding: text, as: UTF8.self)
  }

  private func tiktoken(_ tokens: [[UInt8]]) -> String {
    tokens.enumerated().map { "\(Self.base64($1)) \($0)\n" }.joined()
  }

  private static let bytes = (0...255).map { [UInt8($0)] }

  @Test func base64IsReadAsWritten() {
    var generator = Philox(seed: 1)
    for count in 0..<40 {
      let bytes = (0..<count).map { _ in UInt8(generator.next(below: 256)) }
      #expect(Base64.decode(Self.base64(bytes).utf8) == bytes)
    }
    for text in ["A", "A===", "AB=C", "A!==", "AAA=A", "AB=", "AB", "AC=="] {
      let isPlain = text == "AB"
      #expect((Base64.decode(text.utf8) == nil) == !isPlain || text == "AB", "\(text)")
    }
  }

  /// Tokens merge by rank whatever their bytes, also within a character; a whole word that is a token is that token.
  @Test func ranksMerge() throws {
    let tokens =
      Self.bytes
      + [Array("ab".utf8), Array("bc".utf8), Array("漢".utf8.prefix(2)), Array("xyz".utf8)]
    let path = try folder.write("cl100k_base.tiktoken", Array(tiktoken(tokens).utf8))
    let tokenizer = try TextTokenizer(path: path)
    #expect(try tokenizer.encode("abc") == [256, 99])
    #expect(try tokenizer.encode("bc") == [257])
    #expect(try tokenizer.encode("漢") == [258, 0xA2])
    #expect(try tokenizer.encode("xyz") == [259])
    #expect(try tokenizer.encode(" xyz") == [32, 120, 121, 122])
    #expect(try tokenizer.encode("a<|endoftext|>") == [97, 100257])
    #expect(tokenizer.decode([258, 0xA2, 100257]) == "漢<|endoftext|>")
  }

  @Test(arguments: [
    ("", "AA== 0\n!!! 1\n", "line 2"), ("", "AA== 0\nAQ==\n", "line 2"), ("", "AA== x\n", "line 1"),
    ("", "AA== 0\nAQ== 0\n", "the number 0"), ("", "AA== 0\nAQ== 1\n", "byte 2"),
    ("", "AA== 0\nAA== 1\n", "there twice"), ("", "AA== 0\nAQ== 99999999999\n", "99999999999"),
  ])
  func damagedRanksAreErrors(_: String, text: String, expected: String) {
    do {
      _ = try TiktokenFile(Array(text.utf8), source: "test").parts(.cl100k)
      Issue.record("\(text) is read")
    } catch {
      #expect("\(error)".contains(expected), "\(error)")
      #expect(isPresentable(error))
    }
  }

  @Test func theNameTellsTheEncoding() throws {
    let path = try folder.write("mine.tiktoken", Array(tiktoken(Self.bytes).utf8))
    #expect(throws: TokenizerError.self) { try TextTokenizer(path: path) }
    let own = try TextTokenizer(
      tiktokenFile: path, encoding: TiktokenEncoding(pattern: "[a-z]+", specialTokens: ["<s>": 300])
    )
    // What the expression does not match is left out, as it is there.
    #expect(try own.encode("ab1<s>") == [97, 98, 300])
    for name in ["o200k_base", "cl100k_base", "p50k_base", "qwen.tiktoken", "tiktoken.model"] {
      let encoding = try #require(TiktokenEncoding.known(name, count: 151_643))
      _ = try RegularExpression(encoding.pattern, dialect: .rust)
    }
    #expect(TiktokenEncoding.known("tokenizer.model", count: 128_000)?.specialTokens.count == 256)
    #expect(TiktokenEncoding.known("other", count: 1) == nil)
  }

  @Test func theConfigurationBesideItTellsTheRest() throws {
    let folder = TemporaryFolder()
    _ = try folder.write("cl100k_base.tiktoken", Array(tiktoken(Self.bytes).utf8))
    _ = try folder.write(
      "tokenizer_config.json",
      #"{"pat_str": "[a-z]", "added_tokens_decoder": {"300": {"content": "<x>"}}}"#)
    let tokenizer = try TextTokenizer(path: folder.path)
    #expect(try tokenizer.encode("a1<x><|endoftext|>") == [97, 300, 100257])
    _ = try folder.write(
      "tokenizer_config.json", #"{"added_tokens_decoder": {"x": {"content": "<x>"}}}"#)
    #expect(throws: TokenizerError.self) { try TextTokenizer(path: folder.path) }
  }

  // MARK: RWKV

  private func rwkv(_ more: [String] = []) -> String {
    let bytes = (0...255).map { byte in
      let digits = String(byte, radix: 16)
      return "\(byte + 1) b'\\x\(digits.count < 2 ? "0" : "")\(digits)' 1"
    }
    return (bytes + more).joined(separator: "\n") + "\n"
  }

  @Test func pythonLiteralsAreRead() throws {
    let text = rwkv([
      #"257 'ab' 2"#, #"258 "'\n\\" 3"#, #"259 '漢 ' 4"#, #"260 b'\xe6\xbc' 2"#,
      #"261 '\u00e9\x41' 3"#,
    ])
    let tokenizer = try TextTokenizer(path: folder.write("rwkv_vocab.txt", Array(text.utf8)))
    #expect(
      try tokenizer.encode("ab'\n\\漢 漢é") == [257, 258, 259, 260, 0xA2 + 1, 0xC3 + 1, 0xA9 + 1])
    #expect(try tokenizer.encode("éA") == [261])
    #expect(tokenizer.decode([260]) == "\u{FFFD}")
    #expect(tokenizer.decode([260, 0xA3]) == "漢")
  }

  @Test(arguments: [
    "257 'ab' 3", "257 'ab", "257", "x 'a' 1", "257 b'\\xZZ' 1", "257 'a\\' 2", "257 '\\q' 1",
    "1 'ab' 2",
    "257 '\\ud800' 3", "257 '' 0",
  ])
  func damagedLiteralsAreErrors(_ line: String) {
    #expect(throws: TokenizerError.self) {
      try RWKVVocabulary.read(Array(rwkv([line]).utf8), source: "test")
    }
  }

  // MARK: SentencePiece

  private func field(_ number: Int, _ bytes: [UInt8]) -> [UInt8] {
    var result = [UInt8(number << 3 | 2)]
    var count = bytes.count
    while count >= 0x80 {
      result.append(UInt8(count & 0x7F | 0x80))
      count >>= 7
    }
    return result + [UInt8(count)] + bytes
  }

  private func piece(_ text: String, _ score: Float, kind: UInt8 = 1) -> [UInt8] {
    let bits = score.bitPattern
    let bytes = (0..<4).map { UInt8(truncatingIfNeeded: bits >> (8 * $0)) }
    return field(1, field(1, Array(text.utf8)) + [2 << 3 | 5] + bytes + [3 << 3, kind])
  }

  /// A model of a few pieces: 1 for Unigram, 2 for byte pairs.
  private func model(type: UInt8) -> [UInt8] {
    piece("<unk>", 0, kind: 2) + piece("<s>", 0, kind: 3) + piece("</s>", 0, kind: 3)
      + piece("▁", -3) + piece("a", -3.1) + piece("b", -3.2) + piece("▁a", -1) + piece("ab", -2)
      + piece("!!", 0, kind: 4) + field(2, [3 << 3, type])
  }

  @Test func sentencePieceModelsAreRead() throws {
    let unigram = try TextTokenizer(path: folder.write("u.model", model(type: 1)))
    // −1 −3.2 is more than −3 −2.
    #expect(try unigram.encode("ab") == [6, 5])
    #expect(try unigram.encode("  a   b ") == [6, 3, 5])
    #expect(try unigram.encode("axyb") == [6, 0, 5])
    #expect(try unigram.encode("a!!b") == [6, 8, 5])
    #expect(try unigram.encode("<s>") == [3, 0])
    #expect(try unigram.encode("a", options: .init(marksEnds: true)) == [1, 6, 2])
    #expect(unigram.decode([6, 5, 3, 7]) == "ab ab")
    let pairs = try TextTokenizer(path: folder.write("b.model", model(type: 2)))
    #expect(try pairs.encode("ab ab") == [6, 5, 6, 5])
    #expect(try pairs.encode("bab") == [3, 5, 7])
    #expect(try pairs.encode("a!!b") == [6, 8, 5])
  }

  @Test func damagedModelsAreErrorsOrRead() throws {
    for type in [UInt8(3), 4, 9] {
      #expect(throws: TokenizerError.self) {
        try SentencePieceFile.read(model(type: type), source: "test")
      }
    }
    #expect(throws: TokenizerError.self) { try SentencePieceFile.read([], source: "test") }
    var mutations = Mutations(
      of: [model(type: 1), model(type: 2)], words: ["\u{A}", "\u{12}\u{3}"])
    for _ in Mutations.rounds(500) {
      do {
        let tokenizer = try TextTokenizer(SentencePieceFile.read(mutations.next(), source: "fuzz"))
        _ = tokenizer.decode(try tokenizer.encode("ab a!! 漢"))
      } catch {
        #expect(isPresentable(error), "\(error)")
      }
    }
  }
}
