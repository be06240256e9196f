import Testing

@testable import AttentionFiles

@Suite struct ShownTextTests {
  @Test func whatATerminalObeysIsEscaped() {
    let text = "a\u{1B}[31mb\r\n\u{7F}\u{9B}é😀"
    #expect(text.shown == #"a\u{1B}[31mb\u{D}\u{A}\u{7F}\u{9B}é😀"#)
    #expect("x\u{202E}y\u{2028}".shown == #"x\u{202E}y\u{2028}"#)
    #expect("plain text".shown == "plain text")
    #expect("a\tb\n\u{1B}".escaped(keeping: ["\t", "\n"]) == "a\tb\n" + #"\u{1B}"#)
  }

  @Test(arguments: ["x", "é", "😀", "\u{1B}"])
  func longTextIsShortened(character: String) {
    let text = "begin" + String(repeating: character, count: 1_000_000) + "end"
    let shown = text.shown
    #expect(shown.utf8.count < 16_000)
    #expect(shown.hasPrefix("begin") && shown.hasSuffix("end") && shown.contains("bytes"))
    #expect(!shown.contains("\u{FFFD}"))
  }

  @Test func theLimitIsExact() {
    let text = String(repeating: "x", count: 2000)
    #expect(text.shown == text)
    #expect((text + "y").shown != text + "y")
  }
}
