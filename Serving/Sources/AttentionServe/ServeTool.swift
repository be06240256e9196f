import ArgumentParser
import AttentionLanguageModels
import AttentionServing
import AttentionTensors
import AttentionTraining
import FoundationEssentials
import Logging

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The program `attention-serve`, which `attention serve` starts.
@main
struct ServeTool: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "attention serve",
    abstract: "Answer requests for a model over HTTP, by OpenAI's interface.",
    discussion: """
      Serves POST /v1/completions and /v1/chat/completions, GET /v1/models, /health and /metrics, and at / a page \
      that shows what goes on, with a chat. Every request is answered with the tokens that it would get alone. SIGTERM \
      and SIGINT let running answers end; new requests get status 503.

      With --watch the folder is that of a training run, and a page at / shows its figures as they come; no model is \
      loaded. `attention train --monitor PORT` starts that.
      """)

  @Argument(
    help: "A folder: a checkpoint, a published model, or a training run, whose latest one is read.")
  var model: String

  @Option(help: "The address to listen at. Others than loopback's need --api-key-file.")
  var host = "127.0.0.1"

  @Option(help: "The port to listen at; 0 takes a free one.")
  var port = 8080

  @Option(help: "What the interface calls the model. Default the folder's name.")
  var name: String?

  @Option(
    name: .customLong("api-key-file"),
    help: "A file whose first line requests must bear. Default the environment's ATTENTION_API_KEY."
  )
  var keyFile: String?

  @Option(
    name: .customLong("chat-template"),
    help: "A file or folder with the chat template. Default that of the model, or a plain one.")
  var chatTemplate: String?

  @Option(help: "cpu, cuda or cuda:N.")
  var device = "cpu"

  @Option(help: "What the model computes in; weights are converted. Default that of its file.")
  var dtype: String?

  @Option(name: .customLong("sequences"), help: "The most sequences generated at once.")
  var runningSequences = ServingLimits().runningSequences

  @Option(name: .customLong("queue"), help: "The most that wait; more get status 429.")
  var waitingSequences = ServingLimits().waitingSequences

  @Option(
    name: .customLong("context"), help: "The most tokens of a prompt with its answer.")
  var contextTokens = ServingLimits().contextTokens

  @Option(name: .customLong("max-tokens"), help: "The most tokens of an answer.")
  var answerTokens = ServingLimits().answerTokens

  @Option(
    name: .customLong("state-memory"), help: "The most memory of running sequences' states, in MiB."
  )
  var stateMegabytes = ServingLimits().stateBytes >> 20

  @Option(
    name: .customLong("prefix-memory"),
    help:
      "The most memory of states kept for prompts with the same beginning, in MiB; 0 keeps none.")
  var prefixMegabytes = ServingLimits().prefixBytes >> 20

  @Option(name: .customLong("body"), help: "The most bytes of a request, in KiB.")
  var bodyKilobytes = ServingLimits().bodyBytes >> 10

  @Option(help: "The longest time of an answer, in seconds.")
  var timeout = ServingLimits().requestSeconds

  @Option(
    name: .customLong("drain"), help: "How long running answers may take after SIGTERM, in seconds."
  )
  var drain = 60.0

  @Flag(help: "Show a training run, whose folder is given, instead of serving a model.")
  var watch = false

  @Flag(
    name: .customLong("end-with-parent"),
    help: "With --watch, end when the process that started this one has ended.")
  var endsWithParent = false

  @Option(help: "Messages of at least this level: debug, info, notice, warning or error.")
  var log = "info"

  static func main() async {
    do {
      let command = try parse()
      try await command.run()
    } catch {
      guard exitCode(for: error) != .success else { exit(withError: error) }
      let line = message(for: error).split(whereSeparator: \.isNewline).joined(separator: " ")
      var standardError = StandardError()
      print("attention: \(line)", to: &standardError)
      exit(withError: ExitCode(2))
    }
  }

  func run() async throws {
    guard let level = Logger.Level(rawValue: log) else {
      throw Mistake("--log", was: log, mustBe: "debug, info, notice, warning or error")
    }
    let key = try apiKey()
    // The page of a run takes no key.
    guard key != nil && !watch || ["127.0.0.1", "::1", "localhost"].contains(host) else {
      throw Mistake(
        "--host", was: host, mustBe: "127.0.0.1, ::1 or localhost without --api-key-file")
    }
    guard (0...65_535).contains(port) else {
      throw Mistake("--port", was: "\(port)", mustBe: "from 0 to 65535")
    }
    LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
    var logger = Logger(label: "attention.serve")
    logger.logLevel = level
    guard !watch else {
      let monitor = RunMonitor(folder: model, process: endsWithParent ? getppid() : nil)
      return try await RunServer(
        monitor: monitor, host: host, port: port, endsWithParent: endsWithParent, logger: logger
      ).run()
    }
    let text = try textModel()
    let service = Service(
      engine: try Engine(model: text, limits: try limits()), name: servedName,
      chat: try chatPrompt(), key: key)
    try await HTTPServer(
      service: service, host: host, port: port, drainTime: .seconds(drain), logger: logger
    ).run()
  }

  private func limits() throws -> ServingLimits {
    var limits = ServingLimits()
    limits.runningSequences = runningSequences
    limits.waitingSequences = waitingSequences
    limits.contextTokens = contextTokens
    limits.answerTokens = answerTokens
    limits.stateBytes = try Self.bytes(stateMegabytes, shift: 20, "--state-memory")
    limits.prefixBytes = try Self.bytes(prefixMegabytes, shift: 20, "--prefix-memory")
    limits.bodyBytes = try Self.bytes(bodyKilobytes, shift: 10, "--body")
    limits.requestSeconds = timeout
    try limits.validate()
    return limits
  }

  private static func bytes(_ count: Int, shift: Int, _ flag: String) throws -> Int {
    guard (0...Int.max >> shift).contains(count) else {
      throw Mistake(flag, was: "\(count)", mustBe: "at least 0, and of bytes that can be counted")
    }
    return count << shift
  }

  private var servedName: String {
    name ?? String(model.split(separator: "/").last ?? "model")
  }

  private func apiKey() throws -> String? {
    guard let keyFile else {
      let key = ProcessInfo.processInfo.environment["ATTENTION_API_KEY"]
      return key?.isEmpty == false ? key : nil
    }
    guard let text = try? String(contentsOfFile: keyFile, encoding: .utf8),
      let line = text.split(whereSeparator: \.isNewline).first
    else { throw Mistake("--api-key-file", was: keyFile, mustBe: "a file with a key in it") }
    return String(line)
  }

  private func textModel() throws -> TextModel {
    guard let device = Device(name: device) else {
      throw Mistake("--device", was: device, mustBe: "cpu, cuda or cuda:N")
    }
    let dtype = try dtype.map { name in
      guard let dtype = DType(rawValue: name), dtype.isFloatingPoint else {
        throw Mistake("--dtype", was: name, mustBe: "float32, bfloat16, float16 or float64")
      }
      return dtype
    }
    return try CheckpointStore(folder: model).readLatest {
      try TextModel(folder: $0, dtype: dtype, device: device)
    } ?? TextModel(folder: model, dtype: dtype, device: device)
  }

  /// The template that was named, or the model's own; a model without one has the plain form.
  private func chatPrompt() throws -> ChatPrompt {
    if let chatTemplate { return ChatPrompt(try ChatTemplate(path: chatTemplate)) }
    do { return ChatPrompt(try ChatTemplate(folder: model)) } catch ChatTemplateError.file {
      return .plain
    }
  }
}

/// A mistake in the arguments.
struct Mistake: Error, CustomStringConvertible {
  let description: String

  init(_ argument: String, was: String, mustBe: String) {
    description = "\(argument) is \(was); it must be \(mustBe)"
  }
}

private let systemWrite: @Sendable (Int32, UnsafeRawPointer?, Int) -> Int = { write($0, $1, $2) }

/// Messages for people.
private struct StandardError: TextOutputStream {
  mutating func write(_ text: String) {
    var text = text
    text.withUTF8 { _ = systemWrite(STDERR_FILENO, $0.baseAddress, $0.count) }
  }
}
