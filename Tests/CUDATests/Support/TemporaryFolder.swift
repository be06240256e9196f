import Glibc

@testable import CUDA

/// A folder of its own for one test, removed with everything in it.
final class TemporaryFolder {
  let path: String

  init() {
    var template = Array("/tmp/cuda-tests-XXXXXX".utf8CString)
    path = String(cString: mkdtemp(&template))
  }

  deinit { Self.removeAll(path) }

  private static func removeAll(_ path: String) {
    for name in Folder.contents(path) { removeAll("\(path)/\(name)") }
    remove(path)
  }

  func path(_ name: String) -> String { "\(path)/\(name)" }

  struct WriteFailed: Error {}

  func write(_ bytes: [UInt8], to name: String) throws {
    guard let file = fopen(path(name), "w") else { throw WriteFailed() }
    defer { fclose(file) }
    guard fwrite(bytes, 1, bytes.count, file) == bytes.count else { throw WriteFailed() }
  }

  func bytes(_ name: String) -> [UInt8] {
    guard let file = fopen(path(name), "r") else { return [] }
    defer { fclose(file) }
    fseek(file, 0, SEEK_END)
    let count = ftell(file)
    rewind(file)
    return [UInt8](unsafeUninitializedCapacity: count) { buffer, written in
      written = fread(buffer.baseAddress, 1, count, file)
    }
  }
}
