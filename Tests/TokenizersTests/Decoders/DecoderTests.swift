import AttentionTensors
import Testing

@testable import AttentionTokenizers

@Suite struct DecoderTests {
  /// The text of words that are tokens, with a decoder.
  private func decoded(_ words: [String], _ decoder: String) throws -> String {
    let tokenizer = try TinyTokenizer.words(
      Array(Set(words)).sorted(), "\"decoder\": \(decoder)")
    let tokens = words.compactMap { tokenizer.token($0) }
    let whole = tokenizer.decode(tokens)
    // A decoder can be used again.
    var decoder = tokenizer.decoder()
    for _ in 0..<2 {
      var pieces = tokens.map { decoder.append($0) }
      pieces.append(decoder.finish())
      #expect(pieces.joined().utf8.elementsEqual(whole.utf8))
    }
    return whole
  }

  @Test(arguments: [
    (#"{"type": "WordPiece"}"#, ["un", "##able", ",", "isn", "##'", "x"], "unable, isn' x"),
    (#"{"type": "WordPiece", "cleanup": false}"#, ["a", ",", "b"], "a , b"),
    (#"{"type": "Metaspace"}"#, ["▁a", "b▁c", "▁d"], "ab c d"),
    (#"{"type": "Metaspace", "prepend_scheme": "never"}"#, ["▁a", "▁b"], " a b"),
    (#"{"type": "BPEDecoder"}"#, ["a", "b</w>", "c</w>"], "ab c"),
    (
      #"{"type": "ByteFallback"}"#, ["a", "<0xE2>", "<0x82>", "<0xAC>", "<0xFF>"],
      "a\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}"
    ),
    (#"{"type": "ByteFallback"}"#, ["<0xE2>", "<0x82>", "<0xAC>", "b"], "€b"),
    (#"{"type": "CTC"}"#, ["<pad>", "h", "h", "<pad>", "h", "|", "i"], "hh i"),
    (
      #"{"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}"#,
      ["▁▁", "a", "▁"], " a "
    ),
    (
      #"{"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "Strip", "content": "x", "start": 1, "stop": 2}]}"#,
      ["x", "xa", "x", "b", "xx", "x"], "xaxbx"
    ),
    (#"{"type": "Strip", "content": "x", "start": 1, "stop": 1}"#, ["xax", "xxbxx", "x"], "axbx"),
    (#"{"type": "ByteLevel"}"#, ["Ã", "©", "Ġa", "漢 x"], "é a漢 x"),
  ])
  func textIsThatOfThePieces(decoder: String, words: [String], expected: String) throws {
    #expect(try decoded(words, decoder) == expected)
  }

  @Test func wordsWithoutADecoderAreJoinedBySpaces() throws {
    let tokenizer = try TinyTokenizer.words(["a", "b"])
    #expect(tokenizer.decode([1, 2, 99, -1]) == "a b")
  }

  @Test(arguments: [
    #"{"type": "Nope"}"#, #"{"type": "Strip"}"#,
    #"{"type": "Strip", "content": "", "start": 0, "stop": 0}"#,
    #"{"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "Replace", "pattern": {"String": "ab"}, "content": ""}]}"#,
  ])
  func whatIsUnknownIsAnError(_ decoder: String) {
    #expect(throws: TokenizerError.self) {
      try TinyTokenizer.words(["a"], "\"decoder\": \(decoder)")
    }
  }

  @Test func textComesBackTokenByToken() throws {
    let tokenizer = try TinyTokenizer.open(TinyTokenizer.byteLevel)
    for text in ["", "aba ab a", "é漢🙂", "\u{0}\n\r\t", "👩‍👩‍👧", "<|end|>a"] {
      let tokens = try tokenizer.encode(text)
      #expect(tokenizer.decode(tokens).utf8.elementsEqual(text.utf8))
      var decoder = tokenizer.decoder()
      let pieces = tokens.map { decoder.append($0) }
      #expect((pieces.joined() + decoder.finish()).utf8.elementsEqual(text.utf8))
      #expect(!pieces.joined().unicodeScalars.contains("\u{FFFD}"))
    }
  }

  @Test func unknownRunsOfBytesKeepTheirCharacters() {
    func decoded(_ bytes: [UInt8]) -> String {
      var decoder = ByteFallbackDecoder(keepsCharacters: true)
      var output: [[UInt8]] = []
      for byte in bytes { decoder.append(Array(ByteToken.name(byte).utf8), to: &output) }
      decoder.finish(to: &output)
      return String(decoding: output.joined(), as: UTF8.self)
    }
    #expect(decoded([0xE2, 0x82, 0xAC]) == "€")
    #expect(decoded([0x41, 0xFF, 0xC3, 0xA9, 0xE2, 0x82]) == "A\u{FFFD}é\u{FFFD}\u{FFFD}")
  }
}
