import AttentionFiles

extension TextTokenizer {
  /// The largest file that is read.
  private static let mostBytes = 512 << 20

  /// Opens a tokenizer: a `tokenizer.json`, a model of SentencePiece, a file of `tiktoken`, or a vocabulary of RWKV.
  ///
  /// The expression and the special tokens of a file of `tiktoken` are told by its name, and by the members
  /// `pat_str` and `added_tokens_decoder` of a `tokenizer_config.json` beside it.
  ///
  /// - Parameter path: the file, or the folder of a model, which has one.
  /// - Throws: ``TokenizerError``; the message names the file and the place in it.
  public convenience init(path: String) throws {
    let file = try Self.file(of: path)
    let bytes = try Self.bytes(ofFile: file)
    let name = String(file.split(separator: "/").last ?? "")
    if bytes.drop(while: { $0 <= 0x20 }).first == UInt8(ascii: "{") {
      try self.init(TokenizerJSON.read(bytes, source: file))
    } else if RWKVVocabulary.looksLikeOne(bytes) {
      try self.init(RWKVVocabulary.read(bytes, source: file))
    } else if TiktokenFile.looksLikeOne(bytes) {
      let tokens = try TiktokenFile(bytes, source: file)
      let configuration = file.dropLast(name.count) + TiktokenConfiguration.fileName
      try self.init(
        tokens.parts(
          TiktokenConfiguration(path: String(configuration)).encoding(
            known: TiktokenEncoding.known(name, count: tokens.count), of: file)))
    } else {
      try self.init(SentencePieceFile.read(bytes, source: file))
    }
  }

  /// Opens a file of `tiktoken`.
  ///
  /// - Parameters:
  ///   - path: the file.
  ///   - encoding: what the file does not say.
  /// - Throws: ``TokenizerError``.
  public convenience init(tiktokenFile path: String, encoding: TiktokenEncoding) throws {
    try self.init(TiktokenFile(Self.bytes(ofFile: path), source: path).parts(encoding))
  }

  /// Whether a folder's file of this name may be a tokenizer, the likelier the earlier.
  private static let names: [@Sendable (String) -> Bool] = [
    { $0 == "tokenizer.json" }, { $0 == "tokenizer.model" }, { $0 == "tiktoken.model" },
    { $0.hasSuffix(".tiktoken") }, { $0.hasPrefix("rwkv_vocab") },
  ]

  /// The file that `path` is, or that the folder of this path has.
  private static func file(of path: String) throws -> String {
    guard let names = try? Folder.names(in: Array(path.utf8)) else { return path }
    let present = names.map { String(decoding: $0, as: UTF8.self) }.sorted()
    guard let name = Self.names.lazy.compactMap({ present.first(where: $0) }).first else {
      throw TokenizerError.file(
        path: path,
        reason: "the folder has no tokenizer.json, tokenizer.model, .tiktoken or rwkv_vocab file")
    }
    return path.hasSuffix("/") ? path + name : path + "/" + name
  }

  /// The bytes of a file.
  ///
  /// - Throws: ``TokenizerError/file(path:reason:)``.
  package static func bytes(ofFile path: String) throws -> [UInt8] {
    do { return try RegularFile(path: path).bytes(atMost: mostBytes) } catch {
      throw TokenizerError.file(
        path: path, reason: (error as? FileProblem)?.reason ?? "cannot be read")
    }
  }
}
