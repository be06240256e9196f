import ArgumentParser
import AttentionLanguageModels
import AttentionTensors

/// `attention logits`
struct Logits: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "The logits of a trained or published model, for the tokens of a safetensors file.",
    discussion: """
      Input tensors, by name: tokens, int32 or int64 [b,t], required; padding_mask, bool [b,t], false for \
      padding; cumulative_lengths, int32 [n+1], the bounds of packed sequences, for b = 1. \
      Output: logits, float32 [b,t,vocabulary]: for each token those of the next one.
      """)

  @Argument(
    help: "A folder: a checkpoint, a published model, or a training run, whose latest one is read.")
  var checkpoint: String

  @Argument(help: ArgumentHelp("The tensors to read.", valueName: "in.safetensors"))
  var input: String

  @Option(
    name: [.customShort("o"), .customLong("output")],
    help: ArgumentHelp("The file to write.", valueName: "out.safetensors"))
  var output: String

  @Option(help: "cpu, cuda or cuda:N.")
  var device = "cpu"

  @Option(help: "What the model computes in; weights are converted. Default that of its file.")
  var dtype: DType?

  private static let tokens = "tokens"
  private static let mask = "padding_mask"
  private static let lengths = "cumulative_lengths"

  func run() throws {
    let device = try OperatorFlags.device(named: device)
    try OutputPath.check(output)
    let model = try SavedModel.read(checkpoint, dtype: dtype, on: device)
    let inputs = try read()
    guard let tokens = inputs[Self.tokens] else {
      throw CommandError("\(input): \(Self.tokens) [b,t] is missing")
    }
    let logits: Tensor
    do {
      logits = try model(
        checked(tokens, model.vocabularySize),
        cumulativeLengths: inputs[Self.lengths], paddingMask: inputs[Self.mask])
    } catch {
      guard let message = ToolNames.message(of: error) else { throw error }
      throw CommandError("\(input): \(message)")
    }
    try Safetensors.write(
      [(name: "logits", tensor: logits.cast(to: .float32).moved(to: .cpu))], to: output)
  }

  private func read() throws -> [String: Tensor] {
    let file = try SafetensorsFile(path: input)
    let known = [Self.tokens, Self.mask, Self.lengths]
    var inputs: [String: Tensor] = [:]
    for name in file.names.sorted() {
      guard known.contains(name) else {
        throw CommandError(
          "\(input): logits takes no tensor named \(name); it takes \(known.joined(separator: ", "))"
        )
      }
      inputs[name] = try file.tensor(named: name)
    }
    return inputs
  }

  /// The tokens as the model reads them; other programs often write int64.
  private func checked(_ tokens: Tensor, _ vocabulary: Int) throws -> Tensor {
    guard tokens.dtype == .int32 || tokens.dtype == .int64 else { return tokens }
    let numbers = try tokens.elements(as: Int64.self)
    if let token = numbers.first(where: { !(0..<vocabulary).contains(Int($0)) }) {
      throw CommandError(
        "\(input): \(Self.tokens)", was: "with \(token)", mustBe: "of numbers in 0..<\(vocabulary)")
    }
    return try tokens.cast(to: .int32)
  }
}
