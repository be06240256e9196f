import AttentionCLibrary

/// The program `attention-serve`, which is built by itself and lies beside this tool or on the PATH.
enum ServeProgram {
  private static let name = "attention-serve"
  private static let build =
    "swift build -c release --package-path Serving --scratch-path .build --product attention-serve"
  private static let isMissing = CommandError(
    "\(name) is not beside this tool and not on the PATH; build it with: \(build)")

  /// Runs it in this process's place.
  ///
  /// - Throws: ``CommandError`` if there is no such program.
  static func replaceThisProcess(_ arguments: [String]) throws {
    withWords(arguments) { words in
      // Both return only if there is no such program.
      execv(folder + name, words)
      execvp(name, words)
    }
    throw isMissing
  }

  /// Starts it beside this process.
  ///
  /// - Returns: the number of its process.
  /// - Throws: ``CommandError`` if there is no such program.
  static func start(_ arguments: [String]) throws -> pid_t {
    var process = pid_t()
    let isStarted = withWords(arguments) { words in
      posix_spawn(&process, folder + name, nil, nil, words, environ) == 0
        || posix_spawnp(&process, name, nil, nil, words, environ) == 0
    }
    guard isStarted else { throw isMissing }
    return process
  }

  private static func withWords<R>(
    _ arguments: [String], _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> R
  ) -> R {
    var words: [UnsafeMutablePointer<CChar>?] = ([name] + arguments).map { strdup($0) }
    words.append(nil)
    defer { for case let word? in words { free(word) } }
    return words.withUnsafeMutableBufferPointer { body($0.baseAddress!) }
  }

  /// The folder of this tool, with a slash.
  private static var folder: String {
    var bytes = [CChar](repeating: 0, count: Int(PATH_MAX))
    let count = readlink("/proc/self/exe", &bytes, bytes.count)
    let path =
      count > 0
      ? String(decoding: bytes[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
      : CommandLine.arguments[0]
    return path.lastIndex(of: "/").map { String(path[...$0]) } ?? "./"
  }
}
