import AttentionFiles

extension ChatTemplate {
  private static let configurationFile = "tokenizer_config.json"
  private static let templateFile = "chat_template.jinja"
  private static let mostBytes = 64 << 20

  /// Opens the chat template of a model: `chat_template.jinja`, or that of `tokenizer_config.json`, whose special
  /// tokens it is given.
  ///
  /// - Parameters:
  ///   - folder: the folder of the model.
  ///   - name: which template, if there are several.
  /// - Throws: ``ChatTemplateError``, or ``TokenizerError/syntax(source:reason:)`` for a file that is no JSON.
  public init(folder: String, name: String = "default") throws {
    let configuration =
      try Self.bytes(folder, Self.configurationFile).map {
        try ChatValue(json: $0, source: "\(folder)/\(Self.configurationFile)")
      } ?? .object([])
    let template =
      try Self.bytes(folder, Self.templateFile).map { String(decoding: $0, as: UTF8.self) }
      ?? Self.template(named: name, in: configuration["chat_template"])
    guard let template else {
      throw ChatTemplateError.file(
        path: folder,
        reason:
          "there is no \(Self.templateFile), and no chat_template \(name) in \(Self.configurationFile)"
      )
    }
    try self.init(template, variables: Self.specialTokens(configuration))
  }

  /// Opens the chat template of a model's folder, or a file that is a template.
  ///
  /// - Throws: as ``init(folder:name:)``.
  public init(path: String) throws {
    if (try? Folder.names(in: Array(path.utf8))) != nil {
      try self.init(folder: path)
      return
    }
    do {
      try self.init(
        String(decoding: RegularFile(path: path).bytes(atMost: Self.mostBytes), as: UTF8.self))
    } catch let problem as FileProblem {
      throw ChatTemplateError.file(path: path, reason: problem.reason)
    }
  }

  /// A file of the folder; nil if there is none.
  private static func bytes(_ folder: String, _ name: String) throws -> [UInt8]? {
    guard let names = try? Folder.names(in: Array(folder.utf8)) else {
      throw ChatTemplateError.file(path: folder, reason: "the folder cannot be read")
    }
    guard names.contains(Array(name.utf8)) else { return nil }
    let path = "\(folder)/\(name)"
    do { return try RegularFile(path: path).bytes(atMost: mostBytes) } catch {
      throw ChatTemplateError.file(
        path: path, reason: (error as? FileProblem)?.reason ?? "cannot be read")
    }
  }

  /// `chat_template` is a text, or a list of objects with names.
  private static func template(named name: String, in value: ChatValue?) -> String? {
    switch value {
    case .string(let text): return text
    case .array(let values):
      let wanted = values.first { $0["name"] == .string(name) }
      if case .string(let text)? = wanted?["template"] { return text }
      return nil
    default: return nil
    }
  }

  /// The texts of `bos_token` and others, which are strings or objects with `content`.
  private static func specialTokens(_ configuration: ChatValue) -> [String: ChatValue] {
    var tokens: [String: ChatValue] = [:]
    guard case .object(let members) = configuration else { return tokens }
    for member in members where member.key.hasSuffix("_token") {
      switch member.value {
      case .string: tokens[member.key] = member.value
      case .object: tokens[member.key] = member.value["content"]
      default: break
      }
    }
    return tokens
  }
}
