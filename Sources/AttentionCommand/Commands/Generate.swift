import ArgumentParser
import AttentionLanguageModels
import AttentionTensors
import AttentionTraining

/// `attention generate`
struct Generate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Continue a prompt with a trained or published model, token by token.",
    discussion: """
      Writes the prompt and its continuation, as it is generated, to standard output. Without --prompt \
      the prompt is standard input, without its last line break, unless that is a terminal.

      With --chat the prompt is a user's message, which the model's chat template puts in its form, and only the \
      answer is written. It ends where the template ends an answer, or with the model's end tokens.
      """)

  @Argument(
    help: "A folder: a checkpoint, a published model, or a training run, whose latest one is read.")
  var checkpoint: String

  @Option(help: "The text to continue. Default standard input, or a line break if that is empty.")
  var prompt: String?

  @Option(
    name: .customLong("prompt-tokens"),
    help:
      "The numbers of the tokens to continue, with commas; writes those that follow, with spaces.",
    transform: Self.numbers)
  var promptTokens: [Int32]?

  @Flag(help: "Answer the prompt by the model's chat template.")
  var chat = false

  @Option(help: "The system's message before the prompt, with --chat.")
  var system: String?

  @Option(
    parsing: .unconditional, help: "The number of tokens to generate.", transform: Number.whole)
  var tokens = 400

  @Option(
    parsing: .unconditional, help: "Divides the logits; 0 takes the most likely token.",
    transform: Number.real)
  var temperature = 0.8

  @Option(
    name: .customLong("top-k"), parsing: .unconditional,
    help: "Only the k most likely tokens are drawn. Default all.", transform: Number.whole)
  var topK: Int?

  @Option(
    name: .customLong("top-p"), parsing: .unconditional,
    help: "Only the most likely tokens with total probability p are drawn. Default all.",
    transform: Number.real)
  var topP: Double?

  @Option(
    parsing: .unconditional, help: "The same seed gives the same text.", transform: Number.seed)
  var seed: UInt64 = 0

  @Option(help: "cpu, cuda or cuda:N.")
  var device = "cpu"

  @Option(help: "What the model computes in; weights are converted. Default that of its file.")
  var dtype: DType?

  func validate() throws {
    guard prompt == nil || promptTokens == nil else {
      throw ValidationError("--prompt and --prompt-tokens are both given; there must be one prompt")
    }
    guard !chat || promptTokens == nil else {
      throw ValidationError("--chat and --prompt-tokens are both given; a message is text")
    }
    guard chat || system == nil else {
      throw ValidationError("--system is given without --chat, which has messages")
    }
  }

  private static func numbers(_ text: String) throws -> [Int32] {
    try text.split(separator: ",", omittingEmptySubsequences: false).map {
      guard let number = Int32($0) else {
        throw ValidationError("\"\($0)\" is not the number of a token")
      }
      return number
    }
  }

  func run() throws {
    var options = GenerationOptions(maximumTokens: tokens)
    options.temperature = temperature
    options.topK = topK
    options.topP = topP
    options.seed = seed
    try options.validate()
    let device = try OperatorFlags.device(named: device)
    if let promptTokens {
      let model = try SavedModel.read(checkpoint, dtype: dtype, on: device)
      return try NumberStream(model: model, options: options).write(after: promptTokens)
    }
    let model = try SavedModel.readText(checkpoint, dtype: dtype, on: device)
    options.endTokens = model.endTokens
    let prompt = try prompt ?? StandardInput.text() ?? "\n"
    guard chat else { return try TextStream(model: model, options: options).write(prompt: prompt) }
    let messages = [system.map { ("system", $0) }, ("user", prompt)].compactMap { $0 }
    let conversation = try model.chat(messages.map { .message(role: $0, content: $1) })
    options.endTokens = conversation.endTokens
    try TextStream(model: model, options: options).write(after: conversation.tokens)
  }
}

/// A model named by the folder of a checkpoint or of a run.
enum SavedModel {
  /// The model of a checkpoint, or of the latest one of a run.
  static func read(_ folder: String, dtype: DType?, on device: Device) throws -> LanguageModel {
    let dtype = try checked(dtype)
    return try latest(folder) { try Checkpoint(folder: $0, dtype: dtype, device: device) }.model()
  }

  /// The same with its tokenizer.
  static func readText(_ folder: String, dtype: DType?, on device: Device) throws -> TextModel {
    let dtype = try checked(dtype)
    return try latest(folder) { try TextModel(folder: $0, dtype: dtype, device: device) }
  }

  private static func latest<Value>(_ folder: String, _ read: (String) throws -> Value) throws
    -> Value
  {
    try CheckpointStore(folder: folder).readLatest(read) ?? read(folder)
  }

  /// The dtype, if a model can have it.
  static func checked(_ dtype: DType?) throws -> DType? {
    guard let dtype, !dtype.isFloatingPoint else { return dtype }
    throw CommandError(
      "--dtype", was: dtype.rawValue, mustBe: "float32, bfloat16, float16 or float64")
  }
}
