import CUDA
import Glibc
import Tensors

/// Finds and reads text files.
public enum TextFiles {
  /// Reads the files that `paths` name, and those with one of the `extensions` in the folders that
  /// `paths` name and below.
  ///
  /// Documents come in the order of `paths`, those of a folder sorted by path. Names that begin
  /// with a dot are skipped inside folders, and so are links to folders and empty files. A text
  /// that was met before is left out, whatever its name.
  ///
  /// - Parameters:
  ///   - paths: files and folders; absolute, or relative.
  ///   - extensions: without the dot.
  ///   - folder: what relative paths are relative to.
  /// - Throws: ``TrainingError/text(path:reason:)`` for a path that does not exist or cannot be
  ///   read, for a named file that is empty, and where nothing is found at all.
  public static func documents(
    at paths: [String], extensions: [String], relativeTo folder: String
  ) throws -> [Document] {
    var found: [Document] = []
    var seen: Set<[UInt8]> = []
    for path in paths {
      let root = Path(path.hasPrefix("/") ? path : folder + "/" + path)
      switch try kind(of: root, followingLinks: true) {
      case .folder:
        for file in try files(in: root, extensions: Set(extensions.map { Array($0.utf8) })) {
          let bytes = try read(file)
          if !bytes.isEmpty, seen.insert(bytes).inserted {
            found.append(Document(name: file.text, bytes: bytes))
          }
        }
      case .file:
        let bytes = try read(root)
        guard !bytes.isEmpty else {
          throw TrainingError.text(path: root.text, reason: "the file is empty")
        }
        if seen.insert(bytes).inserted { found.append(Document(name: root.text, bytes: bytes)) }
      case .other:
        throw TrainingError.text(path: root.text, reason: "neither a file nor a folder")
      }
    }
    guard !found.isEmpty else {
      let endings = extensions.map { "." + $0 }.joined(separator: ", ")
      throw TrainingError.text(
        path: paths.joined(separator: ", "), reason: "no text in files that end in \(endings)")
    }
    return found
  }

  /// A name as the bytes that it is: not every name is UTF-8.
  private struct Path {
    let bytes: [UInt8]

    init(_ text: String) { bytes = Array(text.utf8) }

    init(_ folder: Path, _ name: [UInt8]) {
      let slash = UInt8(ascii: "/")
      bytes = folder.bytes + (folder.bytes.last == slash ? [] : [slash]) + name
    }

    /// The name for people; bytes that are not UTF-8 are shown as �.
    var text: String { String(decoding: bytes, as: UTF8.self) }
  }

  private enum Kind { case file, folder, other }

  private static func kind(of path: Path, followingLinks: Bool) throws -> Kind {
    var status = stat()
    let name = path.bytes.map(CChar.init(bitPattern:)) + [0]
    guard (followingLinks ? stat(name, &status) : lstat(name, &status)) == 0 else {
      throw TrainingError.text(path: path.text, reason: String(cString: strerror(errno)))
    }
    switch status.st_mode & S_IFMT {
    case S_IFREG: return .file
    case S_IFDIR: return .folder
    case S_IFLNK:
      // A link to a folder could lead back to where it came from; a link to a file cannot.
      guard stat(name, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return .other }
      return .file
    default: return .other
    }
  }

  private static func files(in folder: Path, extensions: Set<[UInt8]>) throws -> [Path] {
    let dot = UInt8(ascii: ".")
    let names = try naming(folder) { try Folder.names(in: folder.bytes) }
    var found: [Path] = []
    for name in names.sorted(by: { $0.lexicographicallyPrecedes($1) }) where name.first != dot {
      let path = Path(folder, name)
      switch try kind(of: path, followingLinks: false) {
      case .folder: found += try files(in: path, extensions: extensions)
      case .file:
        if let place = name.lastIndex(of: dot), extensions.contains(Array(name[(place + 1)...])) {
          found.append(path)
        }
      case .other: continue
      }
    }
    return found
  }

  private static func read(_ path: Path) throws -> [UInt8] {
    try naming(path) {
      try RegularFile(path: path.bytes).bytes(atMost: MachineMemory.bytes)
    }
  }

  /// Runs `body`, a `FileProblem` of which becomes an error about the text at `path`.
  private static func naming<R>(_ path: Path, _ body: () throws -> R) throws -> R {
    do { return try body() } catch let problem as FileProblem {
      throw TrainingError.text(path: path.text, reason: problem.reason)
    }
  }
}
