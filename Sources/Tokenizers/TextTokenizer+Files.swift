import AttentionFiles

extension TextTokenizer {
  /// The largest file that is read.
  private static let mostBytes = 512 << 20

  /// Opens a tokenizer.
  ///
  /// - Parameter path: a `tokenizer.json`, or the folder of a model, which has one.
  /// - Throws: ``TokenizerError``; the message names the file and the place in it.
  public convenience init(path: String) throws {
    let file = try Self.file(of: path)
    try self.init(TokenizerJSON.read(Self.bytes(of: file), source: file))
  }

  /// The names of tokenizer files in a folder, in the order in which they are preferred.
  private static let names = ["tokenizer.json"]

  /// The file that `path` is, or that the folder of this path has.
  private static func file(of path: String) throws -> String {
    guard let names = try? Folder.names(in: Array(path.utf8)) else { return path }
    let present = Set(names.map { String(decoding: $0, as: UTF8.self) })
    guard let name = Self.names.first(where: present.contains) else {
      throw TokenizerError.file(
        path: path, reason: "the folder has none of \(Self.names.joined(separator: ", "))")
    }
    return path.hasSuffix("/") ? path + name : path + "/" + name
  }

  static func bytes(of path: String) throws -> [UInt8] {
    do { return try RegularFile(path: path).bytes(atMost: mostBytes) } catch {
      throw TokenizerError.file(
        path: path, reason: (error as? FileProblem)?.reason ?? "cannot be read")
    }
  }
}
