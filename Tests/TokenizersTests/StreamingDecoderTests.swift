import AttentionTensors
import Testing

import AttentionTokenizers

@Suite struct StreamingDecoderTests {
  private let tokenizer = ByteTokenizer()

  @Test func textComesBack() {
    for text in ["", "plain", "é ü ß", "漢字", "👩‍👩‍👧 🇩🇪", "a\r\nb\u{0}"] {
      #expect(tokenizer.decode(tokenizer.encode(text)) == text)
    }
  }

  @Test func noHalfCharacterIsGiven() {
    var decoder = StreamingDecoder()
    let pieces = tokenizer.encode("aé漢🙂b").map { decoder.append($0) }
    #expect(pieces == ["a", "", "é", "", "", "漢", "", "", "", "🙂", "b"])
    #expect(decoder.finish() == "")
  }

  @Test func anUnfinishedCharacterIsReplacedAtTheEnd() {
    var decoder = StreamingDecoder()
    let pieces = tokenizer.encode("🙂").dropLast().map { decoder.append($0) }
    #expect(pieces == ["", "", ""])
    #expect(decoder.finish() == "\u{FFFD}")
    #expect(decoder.finish() == "")
    #expect(decoder.append(65) == "A")
  }

  @Test func tokensBeyondTheBytesAreReplaced() {
    #expect(tokenizer.decode([65, 256, 66, -1, 0xE6, 300]) == "A\u{FFFD}B\u{FFFD}\u{FFFD}\u{FFFD}")
  }

  /// Random bytes, most of which start, continue or break characters.
  @Test func piecesTogetherAreTheWholeWhateverTheBytes() {
    var generator = Philox(seed: 1)
    let nasty: [UInt8] = [
      0x41, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC2, 0xDF, 0xE0, 0xE6, 0xED, 0xEF, 0xF0,
      0xF3, 0xF4, 0xF5, 0xFF,
    ]
    for _ in 0..<3000 {
      let bytes = (0..<generator.next(below: 9)).map { _ in
        nasty[generator.next(below: nasty.count)]
      }
      var decoder = StreamingDecoder()
      var text = ""
      for byte in bytes {
        let piece = decoder.append(Int32(byte))
        text += piece
      }
      text += decoder.finish()
      #expect(
        Array(text.unicodeScalars) == Array(String(decoding: bytes, as: UTF8.self).unicodeScalars),
        "\(bytes)")
    }
  }
}
