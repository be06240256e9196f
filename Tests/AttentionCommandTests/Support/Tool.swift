import AttentionCLibrary
import FoundationEssentials
import AttentionTensors
import Testing

/// The built tool, run as a process in a folder of its own.
final class Tool {
  struct Outcome {
    let exitCode: Int32
    let output: String
    let error: String
  }

  let folder: String

  init() throws {
    folder =
      FileManager.default.temporaryDirectory.path + "/attention-tool-"
      + String(UInt64.random(in: 0...UInt64.max), radix: 36)
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: folder) }

  func path(_ name: String) -> String { folder + "/" + name }

  func exists(_ name: String) -> Bool { access(path(name), F_OK) == 0 }

  /// The names in the folder, except those of the tool's output.
  var names: [String] {
    get throws {
      try FileManager.default.contentsOfDirectory(atPath: folder)
        .filter { $0 != "stdout" && $0 != "stderr" }
    }
  }

  /// The names in a subfolder, hidden ones included.
  func names(of folder: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: path(folder))
  }

  func write(_ tensors: [String: Tensor], to name: String) throws {
    try Safetensors.write(
      tensors.sorted { $0.key < $1.key }.map { (name: $0.key, tensor: $0.value) }, to: path(name))
  }

  /// Runs `attention` with these arguments.
  func callAsFunction(_ arguments: String...) throws -> Outcome {
    try run(arguments)
  }

  func run(_ arguments: [String]) throws -> Outcome {
    try run(executable: Self.executable, arguments)
  }

  /// The tool is beside the test bundle.
  static var executable: String {
    let own = CommandLine.arguments[0]
    let folder = own.lastIndex(of: "/").map { String(own[..<$0]) } ?? "."
    return folder + "/attention"
  }

  func run(executable: String, _ arguments: [String]) throws -> Outcome {
    try start(executable: executable, arguments).outcome()
  }

  /// A running process.
  final class Running {
    let id: pid_t
    fileprivate let collect: (pid_t) throws -> Outcome

    fileprivate init(_ id: pid_t, _ collect: @escaping (pid_t) throws -> Outcome) {
      self.id = id
      self.collect = collect
    }

    func send(_ signal: Int32) { kill(id, signal) }

    /// Waits for it to end.
    func outcome() throws -> Outcome { try collect(id) }
  }

  /// Starts a program whose output goes to files in the tool's folder named after `name`.
  func start(
    executable: String = Tool.executable, _ arguments: [String], name: String = "std"
  ) throws -> Running {
    let (output, error) = (path(name + "out"), path(name + "err"))
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    let flags = O_WRONLY | O_CREAT | O_TRUNC
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output, flags, 0o600)
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, error, flags, 0o600)
    var words = ([executable] + arguments).map { strdup($0) }
    words.append(nil)
    defer { for word in words { free(word) } }
    var process: pid_t = 0
    let failure = posix_spawn(&process, executable, &actions, nil, words, environ)
    guard failure == 0 else {
      throw Failure("\(executable): \(String(cString: strerror(failure)))")
    }
    return Running(process) { process in
      var status: Int32 = 0
      while waitpid(process, &status, 0) < 0 && errno == EINTR {}
      // Above 128, as in shells: a process ended by a signal has no clean exit.
      let exitCode = status & 0x7F == 0 ? (status >> 8) & 0xFF : 128 + status & 0x7F
      func text(_ path: String) throws -> String {
        String(decoding: try Data(contentsOf: URL(filePath: path)), as: UTF8.self)
      }
      return Outcome(exitCode: exitCode, output: try text(output), error: try text(error))
    }
  }

  struct Failure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
  }
}

/// Expects an error's one line and exit code, with these words in the line.
func expectMistake(
  _ outcome: Tool.Outcome, _ words: String..., sourceLocation: SourceLocation = #_sourceLocation
) {
  #expect(outcome.exitCode == 2, "\(outcome.error)", sourceLocation: sourceLocation)
  let lines = outcome.error.split(separator: "\n")
  #expect(lines.count == 1, "\(outcome.error)", sourceLocation: sourceLocation)
  #expect(outcome.error.hasPrefix("attention: "), sourceLocation: sourceLocation)
  for word in words {
    #expect(outcome.error.contains(word), "\(outcome.error)", sourceLocation: sourceLocation)
  }
}
