import FoundationEssentials
import LanguageModels
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
    ("{model: {hiden_size: 5}}", "unknown key model.hiden_size; did you mean hidden_size?"),
    ("{model: {colour: 5}}", "unknown key model.colour"),
    ("{model: {}, list: [{}, {nam: 1}]}", "unknown key list.1.nam; did you mean names?"),
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

  @Test(arguments: ["", "{model: ", "{a: 1 b: 2}", "{a: 1} {", "{a: }"])
  func textThatIsNotJSON5IsRefused(text: String) {
    let error = #expect(throws: ConfigurationError.self) { _ = try outer(text) }
    #expect(error?.description.hasPrefix("test.json5: not JSON5: ") == true, "\(text)")
  }

  @Test func aMissingFileIsNamed() {
    let error = #expect(throws: ConfigurationError.self) {
      _ = try JSONValue(json5File: "/nowhere/x.json5")
    }
    #expect(error?.description == "/nowhere/x.json5: the file cannot be read")
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
