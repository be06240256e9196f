import AttentionCLibrary

/// The library that stops or hinders a program at its operations on files.
enum FileFaults {
  private static let library = Result { try compiled() }

  /// The words before a command, for `/usr/bin/env`: see `Tests/FileFaults/file_faults.c`.
  static func environment(in folder: String, _ fault: String) throws -> [String] {
    ["LD_PRELOAD=\(try library.get())", "FAULT_FOLDER=\(folder)", fault]
  }

  /// Compiles it beside the tool, with the compiler of the toolchain or of the system.
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
