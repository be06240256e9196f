import Testing

@testable import AttentionServing

@Suite struct StopMatcherTests {
  /// The text before a stop text, of an answer in pieces of so many characters.
  private func text(_ answer: String, _ stops: [String], pieces: Int) -> String {
    var matcher = StopMatcher(stops)
    var text = ""
    var rest = answer[...]
    while !rest.isEmpty {
      let (piece, isStopped) = matcher.append(String(rest.prefix(pieces)))
      text += piece
      if isStopped { return text }
      rest = rest.dropFirst(pieces)
    }
    return text + matcher.finish()
  }

  @Test(arguments: 1...9)
  func theFirstStopEndsTheText(pieces: Int) {
    #expect(text("one two three", ["two"], pieces: pieces) == "one ")
    #expect(text("one two three", ["three", "tw"], pieces: pieces) == "one ")
    #expect(text("one two three", ["o"], pieces: pieces) == "")
    #expect(text("aaab", ["aab"], pieces: pieces) == "a")
    #expect(text("grün → blau", ["→ b"], pieces: pieces) == "grün ")
  }

  @Test(arguments: 1...9)
  func whatOnlyBeginsAStopStays(pieces: Int) {
    #expect(text("one tw", ["two", "one two"], pieces: pieces) == "one tw")
    #expect(text("aaaa", ["aab"], pieces: pieces) == "aaaa")
    #expect(text("grün", [], pieces: pieces) == "grün")
  }

  @Test func nothingCertainIsHeldBack() {
    var matcher = StopMatcher(["END"])
    let first = matcher.append("an E")
    let second = matcher.append("x")
    #expect(first.text == "an " && second.text == "Ex")
  }
}
