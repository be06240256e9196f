import Glibc

/// The library that stops or hinders a program at its operations on files.
enum FileFaults {
  private static let library = Result { try compiled() }

  /// The words before a command, for `/usr/bin/env`: see `Tests/FileFaults/file_faults.c`.
  static func environment(in folder: String, _ fault: String) throws -> [String] {
    ["LD_PRELOAD=\(try library.get())", "FAULT_FOLDER=\(folder)", fault]
  }

  /// Compiles it beside the tool, with the compiler that the package's C targets are built with.
  private static func compiled() throws -> String {
    let tests = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
    let built = Tool.executable + "-file-faults.so"
    let outcome = try Tool().run(
      executable: "/usr/bin/env",
      ["clang", "-shared", "-fPIC", "-o", built, "\(tests)/FileFaults/file_faults.c"])
    guard outcome.exitCode == 0 else { throw Tool.Failure(outcome.error) }
    return built
  }
}
