import ArgumentParser
import AttentionCLibrary
import AttentionCUDA
import AttentionTensors

/// The command line tool `attention`.
@main
struct AttentionTool: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "attention",
    abstract: "Fast exact and linear attention: run, explain, verify, measure, train, generate.",
    discussion: "Every mistake is one line on standard error and exit code 2.",
    version: version,
    subcommands: [
      Devices.self, Explain.self, Run.self, Verify.self, Bench.self, Time.self, Train.self,
      Generate.self, Serve.self, Inspect.self, Logits.self, Import.self, TokenizerCommand.self,
      Kernels.self,
    ])

  /// The version as in CHANGELOG.md, marked while it is unreleased.
  static let version = "0.1.0 (unreleased)"

  static func main() async {
    StandardOutput.occupyClosedStreams()
    restoreQuit()
    AttentionCLibrary.exit(await run(Array(CommandLine.arguments.dropFirst())))
  }

  /// Parses and runs `arguments`, and returns the exit code: 0, 2 for an error of the caller (one line on
  /// standard error), or the subcommand's own.
  static func run(_ arguments: [String]) async -> Int32 {
    let code = await outcome(of: arguments)
    // Output that could not be written is an error, whatever the subcommand returned.
    do { try StandardOutput.flush() } catch {
      if code != mistake { report("\(error)") }
      return code == 0 ? mistake : code
    }
    return code
  }

  private static func outcome(of arguments: [String]) async -> Int32 {
    do {
      try Environment.check()
      var command = try parseAsRoot(arguments)
      if var command = command as? any AsyncParsableCommand {
        try await command.run()
      } else {
        try command.run()
      }
      return 0
    } catch let code as ExitCode {
      return code.rawValue
    } catch {
      // Help and the version arrive here too, as errors with a successful exit code.
      guard exitCode(for: error) != .success else {
        print(fullMessage(for: error))
        return 0
      }
      report(ToolNames.message(of: error) ?? message(for: error))
      return mistake
    }
  }

  /// Makes SIGQUIT (Ctrl-\) end the tool. Swift's runtime would print the stack and continue.
  private static func restoreQuit() {
    // A background process may have been started with the signal ignored.
    guard !isIgnored(signal: SIGQUIT) else { return }
    signal(SIGQUIT, SIG_DFL)
  }

  /// The exit code of every error in usage or input.
  static let mistake: Int32 = 2

  /// Writes a message on one line, even if it quotes several.
  private static func report(_ message: String) {
    let line = message.split(whereSeparator: \.isNewline)
      .map { $0.drop { $0 == " " || $0 == "\t" } }.joined(separator: " ")
    StandardError.write("attention: \(line)")
  }
}

/// An error in the tool's arguments or input.
struct CommandError: Error, Equatable, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description.shown }

  init(_ argument: String, was: String, mustBe: String) {
    self.init("\(argument.shown) is \(was.shown); it must be \(mustBe)")
  }
}

/// The environment variables that configure kernels.
enum Environment {
  /// - Throws: ``CommandError`` if a variable has an invalid value, which would otherwise be ignored.
  static func check() throws {
    if let text = value("ATTENTION_THREADS"), Int(text).map({ $0 > 0 }) != true {
      throw CommandError("ATTENTION_THREADS", was: text, mustBe: "a whole number of at least 1")
    }
    let sets = InstructionSet.supported.map(\.rawValue)
    if let text = value("ATTENTION_ISA"), !sets.contains(text) {
      throw CommandError(
        "ATTENTION_ISA", was: text, mustBe: "one of \(sets.joined(separator: ", "))")
    }
  }

  private static func value(_ name: String) -> String? {
    getenv(name).map { String(cString: $0) }
  }
}
