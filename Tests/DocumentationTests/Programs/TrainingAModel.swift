import SwiftAttention

/// The program of Training's article TrainingAModel.
enum TrainingAModel {
  static func run(texts: String, output: String) throws {
    var exact = ExactAttentionOptions(heads: 2, keyValueHeads: 1)
    exact.window = 64
    let linear = GatedLinearAttention.Options(heads: 2)
    var configuration = TrainingConfiguration(
      model: LanguageModelConfiguration(
        hiddenSize: 32, layers: [.gatedLinear(linear), .softmax(exact)]))
    configuration.data.paths = [texts]
    configuration.data.extensions = ["txt"]
    configuration.training.steps = 20
    configuration.training.batchSize = 2
    configuration.training.length = 64
    configuration.training.warmupSteps = 5
    configuration.training.outputDirectory = output

    let trainer = try Trainer(configuration, relativeTo: ".")
    let result = try trainer.run { event in
      if case .stepped(let progress) = event {
        print(progress.step, progress.bitsPerByte, progress.tokensPerSecond)
      }
    }
    print(result.lastLine)  // validation 4.21 bits per byte

    guard let folder = result.checkpoint else { return }
    let model = try Checkpoint(folder: folder).model()
    var options = GenerationOptions(maximumTokens: 40)
    options.temperature = 0.8
    var generator = try TokenGenerator(
      model, prompt: ByteTokenizer().encode("func "), options: options)
    var text = StreamingDecoder()
    while let token = try generator.next() { print(text.append(token), terminator: "") }
    print(text.finish())

    let tokens = try Tensor(ByteTokenizer().encode("func f"), [1, 6])
    let logits = try model(tokens)
    print(logits.shape)  // [1, 6, 256]

    let checkpoint = try Checkpoint(folder: folder)
    let parameters = checkpoint.parameters.tracked()
    let tracked = try LanguageModel(model.description, parameters: parameters)
    let targets = try Tensor(ByteTokenizer().encode("unc f("), [1, 6])
    let loss = try tracked.loss(tokens: tokens, targets: targets)
    let gradients = try loss.gradients(of: parameters.tensors)

    let optimizer = AdamW(beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1)
    let update = try optimizer.step(
      parameters.tensors.map { $0.detached() }, gradients: gradients, rate: 1e-3,
      state: AdamW.State(for: parameters.tensors))
    let better = checkpoint.replacing(try parameters.replacing(update.parameters))
    try better.write(to: output + "/tuned")

    let after = try better.model().loss(tokens: tokens, targets: targets)
    print(try loss.item(), try after.item())  // the second is smaller

    try check(loss, after)
  }

  private static func check(_ before: Tensor, _ after: Tensor) throws {
    let (before, after) = (try before.item(), try after.item())
    guard after < before else { throw ProgramError("the step made \(after) of \(before)") }
  }
}
