import FoundationEssentials
import Glibc

/// A folder of one test, removed when the test lets go of it.
final class TemporaryFolder {
  let path: String

  init() throws {
    path =
      FileManager.default.temporaryDirectory.path + "/training-tests-"
      + String(UInt64.random(in: 0...UInt64.max), radix: 36)
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// Writes a file, with the folders above it.
  @discardableResult
  func write(_ name: String, _ bytes: [UInt8]) throws -> String {
    let file = path + "/" + name
    let folder = String(file[..<(file.lastIndex(of: "/") ?? file.endIndex)])
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    try Data(bytes).write(to: URL(filePath: file))
    return file
  }

  @discardableResult
  func write(_ name: String, _ text: String) throws -> String { try write(name, Array(text.utf8)) }

  /// Every file below the folder with its bytes, by relative path.
  func contents(of name: String = "") throws -> [String: [UInt8]] {
    var found: [String: [UInt8]] = [:]
    let root = name.isEmpty ? path : path + "/" + name
    for entry in try FileManager.default.contentsOfDirectory(atPath: root) {
      let relative = name.isEmpty ? entry : name + "/" + entry
      var status = stat()
      guard stat(path + "/" + relative, &status) == 0 else { continue }
      if status.st_mode & S_IFMT == S_IFDIR {
        found.merge(try contents(of: relative)) { first, _ in first }
      } else {
        found[relative] = [UInt8](try Data(contentsOf: URL(filePath: path + "/" + relative)))
      }
    }
    return found
  }
}
