import ArgumentParser
import AttentionCLibrary
import AttentionLanguageModels
import AttentionTensors
import AttentionTraining

/// `attention train`
struct Train: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Train a language model on text.",
    discussion: """
      Progress goes to standard error; standard output gets the text that the trained model \
      generates and, as the last line, its loss: validation 2.31 bits per byte. Checkpoints, \
      metrics.jsonl and loss.svg go to the output folder, runs/NAME for NAME.json5 unless \
      training.output_directory says otherwise.

      The same command resumes a stopped run, bit for bit. Ctrl-C stops it with a checkpoint and \
      exit code 130, SIGTERM with 143, a closing terminal (SIGHUP) with 129; a second Ctrl-C ends it \
      at once.

      --monitor PORT shows the run's figures as they come, on a page at http://127.0.0.1:PORT/, until it ends. \
      `attention serve FOLDER --watch` shows any run's.

      --keys prints every key of a configuration with its default and meaning; the page is \
      CONFIGURATION.md in the repository too.
      """)

  @Argument(
    help: ArgumentHelp("The model, the text and the training.", valueName: "config.json5"))
  var configuration: String?

  @Argument(
    help: ArgumentHelp("Other values, such as training.steps=20.", valueName: "key=value"))
  var overrides: [String] = []

  @Option(help: "cpu, cuda or cuda:N. A run may be resumed on another device.")
  var device = "cpu"

  @Option(
    help: "Show the run on a page at this port of this machine; 0 takes a free one.",
    transform: Number.whole)
  var monitor: Int?

  @Flag(help: "Print all configuration keys and exit.")
  var keys = false

  @Flag(help: "Resume from the latest checkpoint; having none is an error.")
  var resume = false

  @Flag(help: "Remove the checkpoints of an earlier run and start over.")
  var startOver = false

  func validate() throws {
    guard keys || configuration != nil else {
      throw ValidationError("Missing expected argument '<config.json5>'")
    }
    if let monitor, !(0...65_535).contains(monitor) {
      throw ValidationError("--monitor is \(monitor); it must be from 0 to 65535")
    }
  }

  func run() throws {
    if keys { return print(try TrainingConfiguration.keysPage(), terminator: "") }
    guard let configuration else { return }
    guard !(resume && startOver) else {
      throw CommandError("--resume and --start-over are both given; one must be absent")
    }
    let settings = try TrainingConfiguration(file: configuration, overrides: overrides)
    let device = try OperatorFlags.device(named: device)
    let trainer = try Trainer(
      settings, relativeTo: Self.folder(of: configuration), device: device)
    let page = try monitor.map {
      try ServeProgram.start([
        settings.training.outputDirectory, "--watch", "--end-with-parent", "--port", "\($0)",
        "--log", "notice",
      ])
    }
    defer {
      if let page {
        kill(page, SIGTERM)
        waitpid(page, nil, 0)
      }
    }
    StopSignals.install()
    var reporter = ProgressReporter()
    // An error must not continue the line of the bar either.
    defer { reporter.finish() }
    let result = try trainer.run(
      start: resume ? .mustContinue : startOver ? .startOver : .continueIfPossible,
      report: { reporter.show($0) }, shouldStop: { StopSignals.isStopRequested })
    reporter.finish()
    let signal = StopSignals.signal
    if signal == nil { StopSignals.uninstall() }
    StandardError.write(result.curve.terminalPicture())
    let places = [result.checkpoint, result.picture].compactMap { $0 }
    StandardError.write("in \(places.joined(separator: " and "))")
    if result.isComplete, signal == nil, let checkpoint = result.checkpoint {
      try writeSample(settings.sample, checkpoint: checkpoint, on: device)
    }
    print(result.lastLine)
    if let signal { throw ExitCode(StopSignals.exitCode(for: signal)) }
  }

  private func writeSample(
    _ sample: SampleConfiguration, checkpoint: String, on device: Device
  ) throws {
    guard sample.tokens > 0 else { return }
    let model = try TextModel(folder: checkpoint, device: device)
    var options = model.options(maximumTokens: sample.tokens)
    options.temperature = sample.temperature
    options.topK = sample.topK
    options.topP = sample.topP
    options.seed = UInt64(sample.seed)
    try TextStream(model: model, options: options)
      .write(prompt: sample.prompt)
  }

  private static func folder(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }
}
