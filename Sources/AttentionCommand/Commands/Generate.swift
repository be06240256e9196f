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

      --save-state writes the model's state after the last token to a file. --load-state continues from it, after \
      --prompt if that is given, and writes only the continuation, whose tokens are those of one that was not \
      interrupted. With --tokens 0 the state is that after the prompt, for any number of continuations.
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

  @Option(
    parsing: .unconditional,
    help: "This many continuations of one state, with seeds from --seed on.",
    transform: Number.whole)
  var samples = 1

  @Option(
    parsing: .unconditional,
    help:
      "Guesses at most so many tokens from earlier text and checks them in one step. The tokens stay the same. On cpu.",
    transform: Number.whole)
  var speculate = 0

  @Option(name: .customLong("save-state"), help: "A file for the state after the last token.")
  var saveState: String?

  @Option(name: .customLong("load-state"), help: "A file of --save-state to continue from.")
  var loadState: String?

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
    guard !chat || loadState == nil else {
      throw ValidationError("--chat and --load-state are both given; a state is continued by text")
    }
    guard samples >= 1 else {
      throw ValidationError("--samples is \(samples); it must be at least 1")
    }
    guard samples == 1 || saveState == nil else {
      throw ValidationError("--samples and --save-state are both given; there must be one state")
    }
  }

  private static func numbers(_ text: String) throws -> [Int32] {
    guard !text.isEmpty else { return [] }
    return try text.split(separator: ",", omittingEmptySubsequences: false).map {
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
    options.guessLength = speculate
    try options.validate()
    if let saveState { try OutputPath.check(saveState) }
    let device = try OperatorFlags.device(named: device)
    if let promptTokens {
      let model = try SavedModel.read(checkpoint, dtype: dtype, on: device)
      return try generate(model, options, prompt: { promptTokens }) { generator, _ in
        try NumberStream.write(&generator)
      }
    }
    let model = try SavedModel.readText(checkpoint, dtype: dtype, on: device)
    options.endTokens = model.endTokens
    // A continuation does not begin a text.
    let text = try loadState == nil ? prompt ?? StandardInput.text() ?? "\n" : prompt ?? ""
    var tokens = {
      try loadState == nil ? model.tokens(of: text) : model.tokens(ofConversation: text)
    }
    if chat {
      let messages = [system.map { ("system", $0) }, ("user", text)].compactMap { $0 }
      let conversation = try model.chat(messages.map { .message(role: $0, content: $1) })
      options.endTokens = conversation.endTokens
      tokens = { conversation.tokens }
    }
    let stream = TextStream(model: model, options: options)
    let shown = chat || loadState != nil ? "" : text
    try generate(model.model, options, prompt: tokens) { generator, number in
      if samples > 1 { print("--- sample \(number + 1), seed \(seed &+ UInt64(number)) ---") }
      try stream.write(shown, &generator)
    }
  }

  /// Generates the samples, each of which `write` writes, and saves the state.
  private func generate(
    _ model: LanguageModel, _ options: GenerationOptions, prompt: () throws -> [Int32],
    write: (inout TokenGenerator, _ number: Int) throws -> Void
  ) throws {
    let loaded = try loadState.map { try GenerationState(path: $0, model: model) }
    let prompt = try prompt()
    func generator(_ options: GenerationOptions) throws -> TokenGenerator {
      guard let loaded else { return try TokenGenerator(model, prompt: prompt, options: options) }
      return try TokenGenerator(model, continuing: loaded, prompt: prompt, options: options)
    }
    var first = try generator(options)
    guard samples > 1 else {
      try write(&first, 0)
      if let saveState { try first.state().write(to: saveState, model: model) }
      return
    }
    let start = try first.state()
    for number in 0..<samples {
      var options = options
      options.seed = seed &+ UInt64(number)
      var sample = try TokenGenerator(model, continuing: start, options: options)
      try write(&sample, number)
    }
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
