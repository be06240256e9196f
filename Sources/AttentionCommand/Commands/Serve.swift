import ArgumentParser
import AttentionCLibrary
import AttentionTensors

/// `attention serve`: starts the program `attention-serve` in its place.
///
/// The server is a program of its own, so that who does not serve neither fetches nor builds an HTTP server.
struct Serve: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Answer requests for a model over HTTP, by OpenAI's interface.",
    discussion: """
      Starts attention-serve, which is built by itself and found beside this tool or on the PATH. `attention serve \
      --help` lists its options.
      """,
    helpNames: [])

  @Argument(parsing: .captureForPassthrough, help: "The model's folder, and options.")
  var arguments: [String] = []

  func run() throws {
    var words: [UnsafeMutablePointer<CChar>?] = ([Self.program] + arguments).map { strdup($0) }
    words.append(nil)
    defer { for case let word? in words { free(word) } }
    // Both return only if there is no such program.
    execv(Self.folder + Self.program, &words)
    execvp(Self.program, &words)
    throw CommandError(
      "\(Self.program) is not beside this tool and not on the PATH; build it with: \(Self.build)")
  }

  private static let program = "attention-serve"
  private static let build =
    "swift build -c release --package-path Serving --scratch-path .build --product attention-serve"

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
