import AttentionTensors
import TestSupport
import Testing

@testable import AttentionTokenizers

@Suite struct TokenizerFileTests {
  private let folder = TemporaryFolder()

  private func message(_ body: () throws -> Void) -> String {
    do { try body() } catch { return "\(error)" }
    return "none"
  }

  @Test func addedTokensAreFoundFirst() throws {
    let tokenizer = try TinyTokenizer.words(
      ["a", "b"],
      """
      "pre_tokenizer": {"type": "Whitespace"},
      "added_tokens": [{"id": 10, "content": "<x>", "special": true},
        {"id": 11, "content": "<x>y", "special": true}, {"id": 12, "content": "<l>", "lstrip": true},
        {"id": 13, "content": "<r>", "rstrip": true}, {"id": 14, "content": "w", "single_word": true}]
      """)
    #expect(try tokenizer.encode("a<x>b<x>y") == [1, 10, 2, 11])
    #expect(try tokenizer.encode("a \t<l> b") == [1, 12, 2])
    #expect(try tokenizer.encode("a<r>  b") == [1, 13, 2])
    #expect(try tokenizer.encode("w aw w!") == [14, 0, 14, 0])
    let plain = TextTokenizer.EncodingOptions(findsSpecialTokens: false)
    #expect(try tokenizer.encode("a<x>", options: plain) == [1, 0, 0, 0])
    #expect(tokenizer.vocabularySize == 15)
    #expect(tokenizer.decoder(skipsSpecialTokens: true).isEmpty(after: [10, 11]))
  }

  @Test(arguments: [
    (
      #"{"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "a", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "special_tokens": {"a": {"id": "a", "ids": [1], "tokens": ["a"]}}}"#,
      [1], []
    ),
    (#"{"type": "BertProcessing", "sep": ["b", 2], "cls": ["a", 1]}"#, [1], [2]),
    (#"{"type": "RobertaProcessing", "sep": ["b", 2], "cls": ["a", 1]}"#, [1], [2]),
    (
      #"{"type": "Sequence", "processors": [{"type": "ByteLevel"}, {"type": "BertProcessing", "sep": ["b", 2], "cls": ["a", 1]}]}"#,
      [1], [2]
    ),
  ])
  func endsAreMarkedIfAsked(json: String, before: [Int32], after: [Int32]) throws {
    let tokenizer = try TinyTokenizer.words(["a", "b", "c"], "\"post_processor\": \(json)")
    #expect(try tokenizer.encode("c") == [3])
    #expect(try tokenizer.encode("c", options: .init(marksEnds: true)) == before + [3] + after)
  }

  /// What is damaged is one error that names the place.
  @Test(arguments: [
    ("", "a value is missing"), ("{", "line 1, column 2"), ("[]", "an object is missing"),
    ("{}", "model is absent"), (#"{"model": 3}"#, "model is 3"),
    (#"{"model": {"type": "Nope", "vocab": {}}}"#, "the model Nope"),
    (#"{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}}"#, "model.merges[0]"),
    (#"{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a"]}}"#, "a merge of two tokens"),
    (#"{"model": {"type": "BPE", "vocab": {"a": 0, "b": 0}}}"#, "the number 0"),
    (#"{"model": {"type": "BPE", "vocab": {"a": 0, "a": 1}}}"#, "there twice"),
    (#"{"model": {"type": "BPE", "vocab": {"a": -1}}}"#, "is -1"),
    (#"{"model": {"type": "BPE", "vocab": {"a": 99999999999}}}"#, "99999999999"),
    (#"{"model": {"type": "BPE", "vocab": {"a": 0}, "dropout": 0.1}}"#, "dropout"),
    (#"{"model": {"type": "BPE", "vocab": {"a": 0}, "unk_token": "x"}}"#, "unk_token"),
    (#"{"model": {"type": "BPE", "vocab": {}, "vocab": {}}}"#, "stands twice"),
    (#"{"model": {"type": "WordPiece", "vocab": {"a": 0}}}"#, "unk_token"),
    (#"{"model": {"type": "Unigram", "vocab": [["a"]]}}"#, "a token with its score"),
    (#"{"model": {"type": "Unigram", "vocab": [["a", -1, 2]]}}"#, "a token with its score"),
    (#"{"model": {"type": "Unigram", "unk_id": 4, "vocab": [["a", -1]]}}"#, "unk_id"),
    (
      #"{"model": {"type": "BPE", "vocab": {"a": 0}}, "added_tokens": [{"id": 0, "content": "b"}]}"#,
      "of one token"
    ),
    (
      #"{"model": {"type": "BPE", "vocab": {"a": 0}}, "added_tokens": [{"id": 1, "content": ""}]}"#,
      "content"
    ),
    (
      #"{"model": {"type": "BPE", "vocab": {"a": 0}}, "decoder": {"type": "Nope"}}"#,
      "the decoder Nope"
    ),
    (
      #"{"model": {"type": "BPE", "vocab": {"a": 0}}, "post_processor": {"type": "Nope"}}"#,
      "the post-processor Nope"
    ),
  ])
  func damagedFilesAreErrors(json: String, expected: String) {
    let message = message { _ = try TinyTokenizer.open(json) }
    #expect(message.contains(expected), "\(message)")
  }

  @Test func deepFilesAreErrors() {
    for open in ["[", "{\"a\":"] {
      let json = "{\"normalizer\":" + String(repeating: open, count: 100_000)
      #expect(message { _ = try TinyTokenizer.open(json) }.contains("inside each other"))
    }
    let sequence = #"{"type": "Sequence", "normalizers": ["#
    let json =
      "{\"normalizer\":" + String(repeating: sequence, count: 1000)
      + String(repeating: "]}", count: 1000) + "}"
    #expect(message { _ = try TinyTokenizer.open(json) }.contains("inside each other"))
  }

  @Test func mutatedFilesAreOpenedOrRefused() throws {
    var mutations = Mutations(
      of: [
        Array(TinyTokenizer.byteLevel.utf8),
        Array(
          #"{"normalizer": {"type": "BertNormalizer"}, "pre_tokenizer": {"type": "Metaspace"}, "model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0], ["▁a", -1.5], ["b", -2]]}, "decoder": {"type": "Metaspace"}}"#
            .utf8),
        Array(
          ###"{"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(?i:a|b)+?[^c-d&&\\p{L}]{2,3}"}, "behavior": "Isolated"}, "model": {"type": "WordPiece", "unk_token": "u", "vocab": {"u": 0, "##a": 1}}}"###
            .utf8),
      ], words: ["Sequence", "ByteLevel", "Regex", "(", "a*", "merges", "vocab", "\\u0120"])
    for _ in Mutations.rounds(300) {
      let bytes = mutations.next()
      do {
        let tokenizer = try TextTokenizer(TokenizerJSON.read(bytes, source: "fuzz"))
        let tokens = try tokenizer.encode("ab aba <|end|> é漢 cc")
        _ = tokenizer.decode(tokens)
      } catch {
        #expect(isPresentable(error), "\(error)")
      }
    }
  }

  @Test func theFileOfAFolderIsFound() throws {
    _ = try folder.write("tokenizer.json", Array(TinyTokenizer.byteLevel.utf8))
    let tokenizer = try TextTokenizer(path: folder.path)
    #expect(try tokenizer.encode("aba a") == [257, 258])
    #expect(try TextTokenizer(path: folder.path("tokenizer.json")).encode("ab") == [256])
    #expect(message { _ = try TextTokenizer(path: "/nowhere") }.contains("/nowhere"))
    let empty = TemporaryFolder()
    #expect(message { _ = try TextTokenizer(path: empty.path) }.contains("no tokenizer.json"))
  }

  @Test func manyThreadsMayEncode() async throws {
    let tokenizer = try TinyTokenizer.open(TinyTokenizer.byteLevel)
    let text = String(repeating: "ab aba é ", count: 200)
    let expected = try tokenizer.encode(text)
    try await withThrowingTaskGroup(of: [Int32].self) { group in
      for _ in 0..<8 { group.addTask { try tokenizer.encode(text) } }
      for try await tokens in group { #expect(tokens == expected) }
    }
  }

  @Test func textThatIsNotUTF8IsAnError() throws {
    let tokenizer = try TinyTokenizer.open(TinyTokenizer.byteLevel)
    #expect(throws: TokenizerError.self) { try tokenizer.encode(utf8: [0x61, 0xFF]) }
  }
}

extension TokenDecoder {
  /// Whether tokens give no text.
  fileprivate func isEmpty(after tokens: [Int32]) -> Bool {
    var decoder = self
    return tokens.allSatisfy { decoder.append($0).isEmpty } && decoder.finish().isEmpty
  }
}
