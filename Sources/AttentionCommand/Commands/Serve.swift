import ArgumentParser

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

  func run() throws { try ServeProgram.replaceThisProcess(arguments) }
}
