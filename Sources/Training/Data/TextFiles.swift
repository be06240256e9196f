import FoundationEssentials
import Glibc

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
      let root = path.hasPrefix("/") ? path : folder + "/" + path
      switch try kind(of: root, followingLinks: true) {
      case .folder:
        for file in try files(in: root, extensions: Set(extensions)) {
          let bytes = try read(file)
          if !bytes.isEmpty, seen.insert(bytes).inserted {
            found.append(Document(name: file, bytes: bytes))
          }
        }
      case .file:
        let bytes = try read(root)
        guard !bytes.isEmpty else {
          throw TrainingError.text(path: root, reason: "the file is empty")
        }
        if seen.insert(bytes).inserted { found.append(Document(name: root, bytes: bytes)) }
      case .other:
        throw TrainingError.text(path: root, reason: "neither a file nor a folder")
      }
    }
    guard !found.isEmpty else {
      let endings = extensions.map { "." + $0 }.joined(separator: ", ")
      throw TrainingError.text(
        path: paths.joined(separator: ", "), reason: "no text in files that end in \(endings)")
    }
    return found
  }

  private enum Kind { case file, folder, other }

  private static func kind(of path: String, followingLinks: Bool) throws -> Kind {
    var status = stat()
    guard (followingLinks ? stat(path, &status) : lstat(path, &status)) == 0 else {
      throw TrainingError.text(path: path, reason: String(cString: strerror(errno)))
    }
    switch status.st_mode & S_IFMT {
    case S_IFREG: return .file
    case S_IFDIR: return .folder
    case S_IFLNK:
      // A link to a folder could lead back to where it came from; a link to a file cannot.
      guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return .other }
      return .file
    default: return .other
    }
  }

  private static func files(in folder: String, extensions: Set<String>) throws -> [String] {
    let names: [String]
    do { names = try FileManager.default.contentsOfDirectory(atPath: folder) } catch {
      throw TrainingError.text(path: folder, reason: "the folder cannot be read")
    }
    var found: [String] = []
    for name in names.sorted() where !name.hasPrefix(".") {
      let path = (folder.hasSuffix("/") ? folder : folder + "/") + name
      switch try kind(of: path, followingLinks: false) {
      case .folder: found += try files(in: path, extensions: extensions)
      case .file:
        if let dot = name.lastIndex(of: "."),
          extensions.contains(String(name[name.index(after: dot)...]))
        {
          found.append(path)
        }
      case .other: continue
      }
    }
    return found
  }

  private static func read(_ path: String) throws -> [UInt8] {
    do { return [UInt8](try Data(contentsOf: URL(filePath: path))) } catch {
      throw TrainingError.text(path: path, reason: "the file cannot be read")
    }
  }
}
