import ArgumentParser
import AttentionOperators
import FoundationEssentials
import AttentionTensors

/// `attention explain`
struct Explain: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Which kernel a call would run, the estimates, and why not the others.",
    discussion: """
      Nothing is computed and no memory is taken for the tensors. Shapes are given as \
      queries=2x1024x8x64,keys=2x512x2x64; keys default to the shape of the queries, values to that \
      of the keys; for scan inputs=2x1024x512 is enough, or \
      inputs=2x1024x512,state_matrix=512x16. The names are those of `attention run --help`.
      """)

  @Argument(
    help: ArgumentHelp("One of softmax, cosine, linear, scan.", valueName: "operator"),
    transform: OperatorName.init(argument:))
  var operation: OperatorName

  @Option(
    help: ArgumentHelp("The shapes of the tensors by name.", valueName: "name=AxBxC,…"),
    transform: ShapeList.init(argument:))
  var shape: ShapeList

  @OptionGroup var flags: OperatorFlags

  @Flag(help: "Print the verdict as JSON.")
  var json = false

  func run() throws {
    try flags.check(for: operation)
    let inputs = try NamedTensors(
      shape.tensors(for: operation, dtype: flags.dtype ?? .float32), for: operation,
      source: "--shape")
    let explanation = try operation.invocation(inputs, flags).explain(
      needsGradient: flags.gradients)
    if json {
      print(try JSON.text(explanation))
    } else {
      print(ExplanationTable(explanation).text())
    }
    if let problem = ExplanationTable(explanation).failure { throw CommandError(problem) }
  }
}
