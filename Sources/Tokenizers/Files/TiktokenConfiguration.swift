import AttentionFiles

/// What the `tokenizer_config.json` beside a file of `tiktoken` says of its encoding.
struct TiktokenConfiguration {
  static let fileName = "tokenizer_config.json"

  private let path: String
  private let configuration: ChatValue

  /// - Parameter path: the file; if there is none, it says nothing.
  /// - Throws: ``TokenizerError`` for a file that cannot be read.
  init(path: String) throws {
    self.path = path
    guard (try? RegularFile(path: path)) != nil else {
      configuration = .null
      return
    }
    configuration = try ChatValue(json: TextTokenizer.bytes(ofFile: path), source: path)
  }

  /// The encoding: that of the name, with what the configuration has in its place.
  ///
  /// - Parameters:
  ///   - known: what the file's name tells.
  ///   - file: the file, for messages.
  /// - Throws: ``TokenizerError`` if nothing tells the expression, or a special token makes no sense.
  func encoding(known: TiktokenEncoding?, of file: String) throws -> TiktokenEncoding {
    var pattern = known?.pattern
    if case .string(let text)? = configuration["pat_str"] { pattern = text }
    guard let pattern else {
      throw TokenizerError.file(
        path: file,
        reason:
          "neither its name nor pat_str in \(Self.fileName) tells its encoding; a name must contain "
          + TiktokenEncoding.names)
    }
    let own = try specialTokens()
    let others = (known?.specialTokens ?? []).filter { token in
      !own.contains { $0.value == token.token || $0.key.utf8.elementsEqual(token.text.utf8) }
    }
    return TiktokenEncoding(
      pattern: pattern,
      specialTokens: Dictionary(others.map { ($0.text, $0.token) } + own.map { ($0.key, $0.value) })
      {
        $1
      })
  }

  /// The texts and numbers of `added_tokens_decoder`.
  private func specialTokens() throws -> [(key: String, value: Int32)] {
    guard case .object(let members)? = configuration["added_tokens_decoder"] else { return [] }
    return try members.map { member in
      guard let number = Int32(member.key), (0..<Int32(Vocabulary.mostTokens)).contains(number),
        case .string(let text)? = member.value["content"], !text.isEmpty
      else {
        throw TokenizerError.invalidValue(
          source: path, place: "added_tokens_decoder.\(member.key)", was: member.value.json,
          mustBe: "an object with content, under the number of a token")
      }
      return (text, number)
    }
  }
}
