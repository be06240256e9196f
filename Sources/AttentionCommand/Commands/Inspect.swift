import ArgumentParser
import AttentionLanguageModels
import AttentionTensors

/// `attention inspect`
struct Inspect: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show what a model's attention layers read, as a page.",
    discussion: """
      Writes one HTML file that needs no other: of each head of each exact or linear attention layer the map of which \
      token reads which, its entropy, the memory length of its decays, and how much of each token is left in the state \
      after the last. Layers without attention, such as scans, are not shown.
      """)

  @Argument(
    help: "A folder: a checkpoint, a published model, or a training run, whose latest one is read.")
  var checkpoint: String

  @Option(help: "The text to read, of at most \(AttentionView.mostTokens) tokens.")
  var prompt: String

  @Option(name: [.short, .long], help: "The page's file.")
  var output = "attention.html"

  @Option(help: "cpu, cuda or cuda:N.")
  var device = "cpu"

  @Option(help: "What the model computes in; weights are converted. Default that of its file.")
  var dtype: DType?

  func run() throws {
    try OutputPath.check(output)
    let model = try SavedModel.readText(
      checkpoint, dtype: dtype, on: OperatorFlags.device(named: device))
    let tokens = try model.tokens(of: prompt)
    let view = try AttentionView(model.model, tokens: tokens)
    let names = tokens.map { token in
      var decoder = model.decoder()
      let text = decoder.append(token)
      return text + decoder.finish()
    }
    let title = checkpoint.split(separator: "/").last.map(String.init) ?? "model"
    try AtomicFile.write(
      try InspectionPage(title: title, tokens: names, view: view).html, to: output)
    print(output)
  }
}
