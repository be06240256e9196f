import AttentionLanguageModels
import Testing

@testable import AttentionServing

@Suite struct JSONGrammarTests {
  @Test(arguments: [
    "{}", "{ }", #"{"a":1}"#, #"{"a":-0.5e+10,"b":[1,2,{}],"c":null}"#,
    #"{"a\n\u00e9":"ü \" \\","b":true,"c":false}"#, "{\"a\" : [ ] ,\n\"b\": \"\" }",
    #"{"a":0}"#, #"{"a":[0.1,10,1e5]}"#,
  ])
  func objectsAreAccepted(text: String) throws {
    var grammar = JSONGrammar()
    for (place, character) in text.enumerated() {
      #expect(!grammar.isComplete, "before \(place)")
      let isAccepted = grammar.accept(String(character))
      #expect(isAccepted, "\(character) at \(place)")
    }
    #expect(grammar.isComplete)
    _ = try ChatValue(json: Array(text.utf8), source: "test")
  }

  @Test(arguments: [
    "[", "1", "\"", "{,", "{a", "{\"a\",", "{\"a\":}", "{\"a\":1,}", "{\"a\":01", "{\"a\":1.}",
    "{\"a\":.", "{\"a\":+", "{\"a\":1e}", "{\"a\":tru}", "{\"a\":[1,]", "{\"a\":[1}",
    "{\"a\":\"\n", "{\"a\":\"\\x", "{\"a\":\"\\u12g", "{} ", "{}{", "{\"a\":-}", "{'",
  ])
  func othersAreRefusedAtTheLastCharacter(text: String) {
    var grammar = JSONGrammar()
    let isBegun = grammar.accept(String(text.dropLast()))
    let isAccepted = grammar.accept(String(text.suffix(1)))
    #expect(isBegun && !isAccepted)
  }

  @Test func whiteSpaceAndDepthEnd() {
    for endless in [
      "{" + String(repeating: " ", count: 1000), "{\"a\":" + String(repeating: "[", count: 1000),
    ] {
      var grammar = JSONGrammar()
      let isAccepted = grammar.accept(endless)
      #expect(!isAccepted)
    }
  }
}
