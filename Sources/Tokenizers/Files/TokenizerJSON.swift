import AttentionJSON

/// Reads `tokenizer.json`, the file of Hugging Face's `tokenizers`.
struct TokenizerJSON {
  private let source: String
  /// All but the model and the added tokens, which are long.
  private var members: [String: JSONValue] = [:]
  private var addedTokens: [AddedToken] = []
  private var model: TokenizerModelJSON

  /// - Parameters:
  ///   - bytes: the file.
  ///   - source: what errors call it.
  /// - Throws: ``TokenizerError``.
  static func read(_ bytes: [UInt8], source: String) throws -> TextTokenizer.Parts {
    do {
      return try TokenizerJSON(JSON5Parser(bytes), source: source).parts()
    } catch let failure as JSON5Parser.Failure {
      throw TokenizerError.syntax(source: source, reason: failure.located(in: bytes))
    }
  }

  private init(_ parser: JSON5Parser, source: String) throws {
    self.source = source
    var parser = parser
    var members: [String: JSONValue] = [:]
    var model: TokenizerModelJSON?
    try parser.members { parser, key in
      let name = String(decoding: key, as: UTF8.self)
      guard members[name] == nil, name != "model" || model == nil else {
        throw parser.duplicate(key)
      }
      if name == "model", try parser.nextKind() == UInt8(ascii: "{") {
        model = try TokenizerModelJSON(&parser, source: source)
      } else {
        members[name] = try parser.value()
      }
    }
    try parser.end()
    guard let model else {
      throw TokenizerError.invalidValue(
        source: source, place: "model", was: members["model"]?.summary ?? "absent",
        mustBe: "an object")
    }
    self.members = members
    self.model = model
    if case .array(let values)? = members["added_tokens"] {
      addedTokens = try values.enumerated().map { index, value in
        try AddedToken(
          JSONComponent(value, source: source, place: "added_tokens[\(index)]"))
      }
    }
  }

  private func component(_ key: String) throws -> JSONComponent? {
    guard let value = members[key], value != .null else { return nil }
    return try JSONComponent(value, source: source, place: key)
  }

  private func parts() throws -> TextTokenizer.Parts {
    let preTokenizer = try component("pre_tokenizer").map(PreTokenizer.init)
    let model = try model.model(isCut: preTokenizer != nil)
    var parts = TextTokenizer.Parts(model: model, addedTokens: addedTokens)
    parts.preTokenizer = preTokenizer
    parts.normalizer = try component("normalizer").map(Normalizer.init)
    try checkAddedTokens(model)
    if let component = try component("post_processor") {
      parts.postProcessor = try PostProcessor(component) { text in
        addedTokens.first { $0.text == text }?.token ?? model.token(Array(text.utf8))
      }
    }
    if let component = try component("decoder") {
      parts.decoder = try DecoderChain(component).stages
    }
    return parts
  }

  /// Throws if an added token has the number of another token.
  private func checkAddedTokens(_ model: any TokenModel) throws {
    var texts: [Int32: String] = [:]
    for added in addedTokens {
      let place = "added_tokens: the number \(added.token)"
      let other =
        texts.updateValue(added.text, forKey: added.token)
        ?? model.text(of: added.token).map { String(decoding: $0, as: UTF8.self) }
      if let other, !other.utf8.elementsEqual(added.text.utf8) {
        throw TokenizerError.invalidValue(
          source: source, place: place, was: "that of \"\(added.text)\" and of \"\(other)\"",
          mustBe: "of one token")
      }
    }
  }
}

extension AddedToken {
  /// The longest text of an added token, in bytes.
  private static let mostBytes = 4096

  fileprivate init(_ component: JSONComponent) throws {
    token = Int32(try component.integer("id", in: 0..<Vocabulary.mostTokens))
    text = try component.string("content")
    guard !text.isEmpty, text.utf8.count <= Self.mostBytes else {
      throw component.invalid("content", mustBe: "of 1 to \(Self.mostBytes) bytes")
    }
    isSpecial = try component.bool("special", default: false)
    stripsLeft = try component.bool("lstrip", default: false)
    stripsRight = try component.bool("rstrip", default: false)
    isSingleWord = try component.bool("single_word", default: false)
    search = try component.bool("normalized", default: !isSpecial) ? .normalizedText : .text
  }
}
