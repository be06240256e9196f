import AttentionCLibrary
import FoundationEssentials

/// A temporary folder of one test, removed with its contents on deinitialisation.
package final class TemporaryFolder {
  package let path: String

  package init() {
    var template = Array("/tmp/swift-attention-tests-XXXXXX".utf8CString)
    path = template.withUnsafeMutableBufferPointer { name in
      name.baseAddress.flatMap(mkdtemp).map { String(cString: $0) } ?? "/tmp cannot be written to"
    }
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// The path of a file of this name, whether or not it exists.
  package func path(_ name: String) -> String { "\(path)/\(name)" }

  /// Writes a file, creating its parent folders, and returns its path.
  @discardableResult
  package func write(_ name: String, _ bytes: [UInt8]) throws -> String {
    let file = path(name)
    let folder = String(file[..<(file.lastIndex(of: "/") ?? file.endIndex)])
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    try Data(bytes).write(to: URL(filePath: file))
    return file
  }

  @discardableResult
  package func write(_ name: String, _ text: String) throws -> String {
    try write(name, Array(text.utf8))
  }

  /// The bytes of a file; empty if it cannot be read.
  package func bytes(_ name: String) -> [UInt8] {
    (try? Data(contentsOf: URL(filePath: path(name)))).map { [UInt8]($0) } ?? []
  }

  /// The names in the folder, sorted.
  package var names: [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted()
  }

  /// Every file below the folder with its bytes, by relative path.
  package func contents(of name: String = "") throws -> [String: [UInt8]] {
    var found: [String: [UInt8]] = [:]
    let root = name.isEmpty ? path : path(name)
    for entry in try FileManager.default.contentsOfDirectory(atPath: root) {
      let relative = name.isEmpty ? entry : name + "/" + entry
      var status = stat()
      guard stat(path(relative), &status) == 0 else { continue }
      if status.st_mode & S_IFMT == S_IFDIR {
        found.merge(try contents(of: relative)) { first, _ in first }
      } else {
        found[relative] = bytes(relative)
      }
    }
    return found
  }
}
