import AttentionCLibrary

/// The library that kills a program, or lets it fail, at its file operations.
enum FileFaults {
  private static let library = Result { try compiled() }

  /// The arguments of `/usr/bin/env` before a command: see `Tests/FileFaults/file_faults.c`.
  static func environment(in folder: String, _ fault: String) throws -> [String] {
    ["LD_PRELOAD=\(try library.get())", "FAULT_FOLDER=\(folder)", fault]
  }

  /// Compiles it beside the tool, with the toolchain's or the system's compiler.
  private static func compiled() throws -> String {
    let tests = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
    let built = Tool.executable + "-file-faults.so"
    var messages: [String] = []
    for compiler in ["clang", "cc", "gcc"] {
      let outcome = try Tool().run(
        executable: "/usr/bin/env",
        [compiler, "-shared", "-fPIC", "-o", built, "\(tests)/FileFaults/file_faults.c", "-ldl"])
      if outcome.exitCode == 0 { return built }
      messages.append(outcome.error)
    }
    throw Tool.Failure(messages.joined())
  }
}
