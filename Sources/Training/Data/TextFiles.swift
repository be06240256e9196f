import AttentionCLibrary
import AttentionCUDA
import AttentionTensors

/// Finds and reads text files.
public enum TextFiles {
  /// Reads the files in `paths`, and those with one of the `extensions` in the folders in `paths` and their
  /// subfolders.
  ///
  /// Documents come in the order of `paths`, those of a folder sorted by path. Inside folders, names that
  /// begin with a dot, links to folders, empty files and what other programs remove meanwhile are skipped.
  /// Repeated texts are skipped, whatever their names.
  ///
  /// - Parameters:
  ///   - paths: files and folders, absolute or relative.
  ///   - extensions: without the dot; "" for names without one.
  ///   - folder: the folder that relative paths start at.
  /// - Throws: ``TrainingError/text(path:reason:)`` if a path does not exist or cannot be read, a named file
  ///   is empty, or no file is found;
  ///   ``TrainingError/outOfMemory(_:neededBytes:availableBytes:)`` if the text exceeds the memory.
  public static func documents(
    at paths: [String], extensions: [String], relativeTo folder: String
  ) throws -> [Document] {
    let endings = Set(extensions.map { Array($0.utf8) })
    let files = try paths.flatMap { path in
      try Self.files(at: Path(path.hasPrefix("/") ? path : folder + "/" + path), endings)
    }
    // The documents, and the packed text made from them.
    let copies = 2
    let total = files.reduce(0) { $0 + min($1.size, .max / copies - $0) }
    try MemoryLimit.require(copies * total, "the text, \(Quantity.bytes(total)), needs")

    var found: [Document] = []
    var seen: Set<[UInt8]> = []
    for file in files {
      guard let bytes = try unlessRemoved(file.path, isNamed: file.isNamed, { try read(file.path) })
      else { continue }
      guard !bytes.isEmpty || !file.isNamed else {
        throw TrainingError.text(path: file.path.text, reason: "the file is empty")
      }
      if !bytes.isEmpty, seen.insert(bytes).inserted {
        found.append(Document(name: file.path.text, bytes: bytes))
      }
    }
    guard !found.isEmpty else {
      let endings = extensions.map { $0.isEmpty ? "nothing" : "." + $0 }.joined(separator: ", ")
      throw TrainingError.text(
        path: paths.joined(separator: ", "), reason: "no text in files that end in \(endings)")
    }
    return found
  }

  /// A path as raw bytes, since not every path is UTF-8.
  private struct Path {
    let bytes: [UInt8]

    init(_ text: String) { bytes = Array(text.utf8) }

    init(_ folder: Path, _ name: [UInt8]) {
      let slash = UInt8(ascii: "/")
      bytes = folder.bytes + (folder.bytes.last == slash ? [] : [slash]) + name
    }

    /// The path for messages; bytes that are not UTF-8 are shown as �.
    var text: String { String(decoding: bytes, as: UTF8.self) }
  }

  private struct File {
    let path: Path
    let size: Int
    /// Whether the configuration names the file itself, not a folder above it.
    let isNamed: Bool
  }

  private enum Kind { case file(size: Int), folder, other }

  private static func kind(of path: Path, followingLinks: Bool) throws -> Kind {
    var status = stat()
    let name = path.bytes.map(CChar.init(bitPattern:)) + [0]
    guard (followingLinks ? stat(name, &status) : lstat(name, &status)) == 0 else {
      throw TrainingError.text(path: path.text, reason: String(cString: strerror(errno)))
    }
    if status.st_mode & S_IFMT == S_IFLNK {
      // A link to a folder could make a cycle; a link to a file cannot.
      guard stat(name, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return .other }
    }
    switch status.st_mode & S_IFMT {
    case S_IFREG: return .file(size: Int(status.st_size))
    case S_IFDIR: return .folder
    default: return .other
    }
  }

  /// The file at `path`, or the files of the folder at `path`.
  private static func files(at path: Path, _ extensions: Set<[UInt8]>) throws -> [File] {
    switch try kind(of: path, followingLinks: true) {
    case .folder: return try files(in: path, extensions: extensions)
    case .file(let size): return [File(path: path, size: size, isNamed: true)]
    case .other: throw TrainingError.text(path: path.text, reason: "neither a file nor a folder")
    }
  }

  private static func files(in folder: Path, extensions: Set<[UInt8]>) throws -> [File] {
    let dot = UInt8(ascii: ".")
    let names = try naming(folder) { try Folder.names(in: folder.bytes) }
    var found: [File] = []
    for name in names.sorted(by: { $0.lexicographicallyPrecedes($1) }) where name.first != dot {
      let path = Path(folder, name)
      let entry: Kind? = try unlessRemoved(path) {
        try Self.kind(of: path, followingLinks: false)
      }
      switch entry ?? .other {
      case .folder:
        found += try unlessRemoved(path) { try files(in: path, extensions: extensions) } ?? []
      case .file(let size):
        let ending = name.lastIndex(of: dot).map { Array(name[($0 + 1)...]) } ?? []
        if extensions.contains(ending) {
          found.append(File(path: path, size: size, isNamed: false))
        }
      case .other: continue
      }
    }
    return found
  }

  /// What `body` returns; nil if it fails and there is nothing at `path` any more, as where a training run
  /// removes a checkpoint while its folder is searched.
  private static func unlessRemoved<R>(
    _ path: Path, isNamed: Bool = false, _ body: () throws -> R
  ) throws -> R? {
    do { return try body() } catch let error as TrainingError {
      var status = stat()
      let name = path.bytes.map(CChar.init(bitPattern:)) + [0]
      guard !isNamed, lstat(name, &status) != 0, errno == ENOENT else { throw error }
      return nil
    }
  }

  private static func read(_ path: Path) throws -> [UInt8] {
    try naming(path) {
      try RegularFile(path: path.bytes).bytes(atMost: MachineMemory.bytes)
    }
  }

  /// Runs `body` and turns a `FileProblem` into an error about the text at `path`.
  private static func naming<R>(_ path: Path, _ body: () throws -> R) throws -> R {
    do { return try body() } catch let problem as FileProblem {
      throw TrainingError.text(path: path.text, reason: problem.reason)
    }
  }
}
