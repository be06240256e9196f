import ArgumentParser
import AttentionLanguageModels

/// `attention generate`
struct Generate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Continue a prompt with a trained model, token by token.",
    discussion: """
      Standard output gets the prompt and, as it is written, what follows it. Without --prompt it is what \
      standard input holds, to the last line break, unless that is a terminal.
      """)

  @Argument(
    help: "A checkpoint folder, or the output folder of a training run: its latest checkpoint.")
  var checkpoint: String

  @Option(help: "The text to continue. Default standard input; where it is empty, a line break.")
  var prompt: String?

  @Option(
    parsing: .unconditional, help: "How many tokens are written.", transform: Number.whole)
  var tokens = 400

  @Option(
    parsing: .unconditional, help: "Divides the logits; 0 takes the likeliest token.",
    transform: Number.real)
  var temperature = 0.8

  @Option(
    name: .customLong("top-k"), parsing: .unconditional,
    help: "Only the likeliest k tokens are drawn from. Default all.", transform: Number.whole)
  var topK: Int?

  @Option(
    name: .customLong("top-p"), parsing: .unconditional,
    help: "Only the likeliest tokens that make up p are drawn from. Default all.",
    transform: Number.real)
  var topP: Double?

  @Option(
    parsing: .unconditional, help: "The same seed gives the same text.", transform: Number.seed)
  var seed: UInt64 = 0

  @Option(help: "cpu, cuda or cuda:N.")
  var device = "cpu"

  func run() throws {
    var options = GenerationOptions(maximumTokens: tokens)
    options.temperature = temperature
    options.topK = topK
    options.topP = topP
    options.seed = seed
    try options.validate()
    let model = try SavedModel.read(checkpoint, on: OperatorFlags.device(named: device))
    try TextStream(model: model, options: options)
      .write(prompt: prompt ?? StandardInput.text() ?? "\n")
  }
}
