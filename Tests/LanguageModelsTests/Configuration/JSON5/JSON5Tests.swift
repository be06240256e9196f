import FoundationEssentials
import AttentionLanguageModels
import Testing

@Suite struct JSON5Tests {
  struct Inner: Codable, Equatable {
    var hiddenSize = 3
    var names = ["a"]

    enum CodingKeys: String, CodingKey, CaseIterable {
      case hiddenSize = "hidden_size"
      case names
    }

    init(from decoder: any Decoder) throws {
      let values = try decoder.strictContainer(keyedBy: CodingKeys.self)
      hiddenSize = try values.value(.hiddenSize, default: hiddenSize)
      names = try values.value(.names, default: names)
    }
  }

  struct Outer: Codable, Equatable {
    var model: Inner
    var list: [Inner]?
  }

  private func outer(_ text: String) throws -> Outer {
    try JSONValue(json5: Data(text.utf8), source: "test.json5").decoded(as: Outer.self)
  }

  @Test func readsCommentsUnquotedKeysAndTrailingCommas() throws {
    let read = try outer("{ // a comment\n model: { hidden_size: 0x10, names: ['b', \"c\",], }, }")
    #expect(read.model.hiddenSize == 16)
    #expect(read.model.names == ["b", "c"])
    #expect(try outer("{model: {}}").model.hiddenSize == 3)
  }

  @Test(arguments: [
    (
      "{model: {hiden_size: 5}}",
      "unknown key model.hiden_size; did you mean hidden_size? The keys are hidden_size, names"
    ),
    ("{model: {colour: 5}}", "unknown key model.colour; the keys are hidden_size, names"),
    (
      "{model: {}, list: [{}, {nam: 1}]}",
      "unknown key list.1.nam; did you mean names? The keys are hidden_size, names"
    ),
    ("{model: {hidden_size: 'a'}}", "model.hidden_size is \"a\"; it must be a whole number"),
    ("{model: {hidden_size: 1.5}}", "model.hidden_size is 1.5; it must be a whole number"),
    ("{model: {hidden_size: 1e30}}", "model.hidden_size is 1e+30; it must be a whole number"),
    ("{model: {hidden_size: null}}", "model.hidden_size is null; it must be a whole number"),
    ("{model: {hidden_size: Infinity}}", "model.hidden_size is inf; it must be a finite number"),
    ("{model: {names: 3}}", "model.names is 3; it must be an array"),
    ("{}", "model is missing"),
  ])
  func errorsNameTheKey(text: String, message: String) {
    let error = #expect(throws: ConfigurationError.self) { _ = try outer(text) }
    #expect(error?.description == message)
  }

  @Test(arguments: [
    ("", "line 1, column 1: a value is missing"),
    ("{a: ", "line 1, column 5: a value is missing"),
    ("{\n  a: 1\n  b: 2\n}", "line 3, column 3: a comma or } is missing"),
    ("[1 2]", "line 1, column 4: a comma or ] is missing"),
    ("[1,, 2]", "line 1, column 4: a value is missing"),
    ("{é: 1} {", "line 1, column 8: something follows the value"),
    ("{a: }", "line 1, column 5: a value is missing"),
    ("{a}", "line 1, column 3: a colon is missing after the key a"),
    ("{1a: 2}", "line 1, column 2: a key or } is missing"),
    ("{a: 1, 'a': 2}", "line 1, column 8: the key a stands twice"),
    ("{a: yes}", "line 1, column 5: yes is not a value; text needs quotes"),
    ("'a\nb'", "line 1, column 1: the string does not end in its line"),
    ("[\"abc", "line 1, column 2: the string does not end"),
    ("'\\u12'", "line 1, column 4: 4 hexadecimal digits are missing"),
    ("'\\ud800x'", "line 1, column 2: half a character"),
    ("/* a", "line 1, column 1: the comment does not end"),
    ("012", "line 1, column 1: 012 is not a number"),
    (".", "line 1, column 1: . is not a number"),
    ("-", "line 1, column 1: - is not a number"),
    ("-inf", "line 1, column 1: -inf is not a number"),
    ("1e", "line 1, column 1: 1e is not a number"),
    ("1.2.3", "line 1, column 1: 1.2.3 is not a number"),
    ("0x", "line 1, column 1: 0x is not a number"),
    ("12px", "line 1, column 1: 12px is not a number"),
  ])
  func textThatIsNotJSON5IsRefusedWithThePlace(text: String, message: String) {
    let error = #expect(throws: ConfigurationError.self) {
      _ = try JSONValue(json5: Data(text.utf8), source: "test.json5")
    }
    #expect(error == .syntax(source: "test.json5", reason: message))
  }

  @Test func deepNestingAndBrokenUTF8AreRefused() {
    for text in [Data(repeating: UInt8(ascii: "["), count: 100_000), Data([0x22, 0xFF, 0x22])] {
      #expect(throws: ConfigurationError.self) { _ = try JSONValue(json5: text, source: "") }
    }
  }

  private func read(_ text: String) throws -> JSONValue {
    try JSONValue(json5: Data(text.utf8), source: "")
  }

  @Test func everyKindOfNumberIsRead() throws {
    #expect(
      try read("[0, -0, +5, 12, -7, 0x1F, -0xa, 9223372036854775807, 9223372036854775808]")
        == .array([
          .integer(0), .integer(0), .integer(5), .integer(12), .integer(-7), .integer(31),
          .integer(-10), .integer(.max), .number(0x1p63),
        ]))
    #expect(
      try read("[0.5, .5, 5., 5.e1, 1e-3, 2E+2, -.25, -Infinity]")
        == .array([
          .number(0.5), .number(0.5), .number(5), .number(50), .number(0.001), .number(200),
          .number(-0.25), .number(-.infinity),
        ]))
  }

  @Test func everyKindOfStringAndKeyIsRead() throws {
    let strings = #"""
      ['a"b', "c'd\\\n\t\x41\u00e9\ud83d\ude00\q", 'one \
      line']
      """#
    #expect(
      try read(strings)
        == .array([.string("a\"b"), .string("c'd\\\n\tAé😀q"), .string("one line")]))
    #expect(
      try read("\u{FEFF}// first\n{$a_1: null, /* * / */ 'b c': [true, false,],\u{A0}é: {}}\r\n")
        == .object([
          "$a_1": .null, "b c": .array([.bool(true), .bool(false)]), "é": .object([:]),
        ]))
  }

  enum Colour: String, CaseIterable, Codable { case red, green }

  struct Choice: Decodable {
    let colour: Colour
    let width: Int?

    enum CodingKeys: String, CodingKey, CaseIterable { case colour, width }

    init(from decoder: any Decoder) throws {
      let values = try decoder.strictContainer(keyedBy: CodingKeys.self)
      colour = try values.value(.colour, default: .red)
      width = try values.value(.width, default: nil)
    }
  }

  /// Messages say in words what a value must be, also where the decoder's own message is used.
  @Test(arguments: [
    ("{colour: 'blue'}", "colour is \"blue\"; it must be one of \"red\", \"green\""),
    ("{colour: 1}", "colour is 1; it must be a string"),
    ("{width: 1e300}", "width is 1e+300; it must be a whole number"),
    ("{width: 'a'}", "width is \"a\"; it must be a whole number"),
  ])
  func valuesOfFewAndOfNone(text: String, message: String) throws {
    let value = try JSONValue(json5: Data(text.utf8), source: "test.json5")
    let error = #expect(throws: ConfigurationError.self) { try value.decoded(as: Choice.self) }
    #expect(error?.description == message)
  }

  @Test func aMissingFileIsNamed() {
    let error = #expect(throws: ConfigurationError.self) {
      _ = try JSONValue(json5File: "/nowhere/x.json5")
    }
    #expect(error?.description == "/nowhere/x.json5: cannot be opened: No such file or directory")
  }

  @Test func writtenTextIsReadBackAndKeysAreSorted() throws {
    let value = JSONValue.object([
      "b": .array([.integer(1), .number(0.1), .bool(true), .null]), "a": .string("x/\"\n"),
    ])
    let text = try value.serialized()
    #expect(try JSONValue(json5: text, source: "") == value)
    let written = String(decoding: text, as: UTF8.self)
    #expect(written.hasPrefix("{\n  \"a\" : \"x/"))
    #expect(written.hasSuffix("}\n"))
  }
}
