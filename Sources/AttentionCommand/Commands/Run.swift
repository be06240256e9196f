import ArgumentParser
import AttentionOperators
import AttentionTensors

/// `attention run`
struct Run: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Run an operator on the tensors of a safetensors file.",
    discussion: """
      Tensors read, by name:

      \(InputName.help)

      Tensors written: output; softmax and cosine: log_sum_exp [b,h,t]; linear: final_state \
      [n,hv,k,v], with --normalize-weights [n,hv,k,v+1], with slots [n,h,m,k] and final_value_state \
      [n,h,m,v], with levels none; scan: final_state [n,d], with step [n,d,s]; with --gradients \
      <input>_gradient for every floating-point input, in that input's dtype and shape. An incoming \
      gradient that is absent is zero.
      """)

  @Argument(
    help: ArgumentHelp("One of softmax, cosine, linear, scan.", valueName: "operator"),
    transform: OperatorName.init(argument:))
  var operation: OperatorName

  @Argument(help: ArgumentHelp("The tensors to read.", valueName: "in.safetensors"))
  var input: String

  @Option(
    name: [.customShort("o"), .customLong("output")],
    help: ArgumentHelp("The file to write.", valueName: "out.safetensors"))
  var output: String

  @OptionGroup var flags: OperatorFlags

  @Flag(help: "Print which kernel ran, and why not the others.")
  var explain = false

  func run() throws {
    try flags.check(for: operation)
    try OutputPath.check(output)
    let file = try SafetensorsFile(path: input)
    let tensors = try file.names.map { ($0, try file.tensor(named: $0)) }
    var inputs = try NamedTensors(
      Dictionary(uniqueKeysWithValues: tensors), for: operation, source: input)
    if flags.gradients { inputs = inputs.tracked() }
    let device = try OperatorFlags.device(named: flags.device)
    let call = try operation.invocation(inputs.moved(to: device), flags)
    if explain {
      let explanation = try call.explain(needsGradient: flags.gradients)
      print(ExplanationTable(explanation).text())
    }
    let outputs = try flags.gradients ? call.runWithGradients(of: inputs) : call.run()
    try Safetensors.write(
      outputs.tensors.sorted { $0.key < $1.key }.map {
        (name: $0.key, tensor: try $0.value.moved(to: .cpu))
      },
      to: output)
  }
}
