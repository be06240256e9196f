import FoundationEssentials
import Layers
import SwiftAttention

/// A language model with an own mixer is configured, trained, saved, loaded, and writes text.
func checkMixer() throws {
  try MixerRegistry.shared.register(GatedUnitConfiguration.self)

  let name = "extensions-\(UInt64.random(in: 0...UInt64.max))"
  let folder = FileManager.default.temporaryDirectory.path + "/" + name
  try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
  defer { try? FileManager.default.removeItem(atPath: folder) }
  let lines = (0..<400).map { "func f\($0)(x: Int) -> Int { x + \($0) }\n" }
  try AtomicFile.write(lines.joined(), to: folder + "/functions.txt")

  let configuration = try JSONValue(
    json5: """
      {
        model: {
          hidden_size: 32,
          layers: [{ type: "gated_unit", expansion: 2 }, { type: "softmax", heads: 2, window: 32 }],
        },
        data: { paths: ["\(folder)"], extensions: ["txt"] },
        training: {
          steps: 40, batch_size: 4, length: 64, warmup_steps: 5, learning_rate: 1e-2,
          log_interval: 5, validation_tokens: 512, output_directory: "\(folder)/run",
        },
      }
      """
  ).decoded(as: TrainingConfiguration.self)

  var curve: [Double] = []
  let result = try Trainer(configuration, relativeTo: folder).run { event in
    if case .stepped(let progress) = event { curve.append(progress.bitsPerByte) }
  }
  guard let first = curve.first, let last = curve.last, let saved = result.checkpoint else {
    throw Failure(description: "nothing was trained")
  }
  let (before, after) = ((first * 100).rounded() / 100, (last * 100).rounded() / 100)
  print("mixer: \(before), then \(after) bits per byte in \(configuration.training.steps) steps")
  try check(last < 0.7 * first, "the model has not learnt")

  let checkpoint = try Checkpoint(folder: saved)
  let model = try checkpoint.model()
  try check(
    checkpoint.configuration?.layers.layers.map(\.type) == ["gated_unit", "softmax"]
      && checkpoint.parameters.paths.contains("layers.0.mixer.candidate_proj.weight"),
    "the checkpoint is of another model")

  let prompt = ByteTokenizer().encode("func f1(x")
  let tokens = try Tensor(prompt, [1, prompt.count])
  var cache = model.makeCache()
  let steps = try prompt.indices.map {
    try model.step(tokens.sliced(1, $0..<$0 + 1), cache: &cache)
  }
  let difference = try Tensor.concatenated(steps, 1).largestDifference(from: model(tokens))
  print("mixer: token by token differs from the whole sequence by", difference)
  try check(difference <= 1e-4, "the mixer's cache is wrong")

  var options = GenerationOptions(maximumTokens: 24)
  options.temperature = 0
  var generator = try TokenGenerator(model, prompt: prompt, options: options)
  var decoder = StreamingDecoder()
  var text = ""
  while let token = try generator.next() { text += decoder.append(token) }
  print("mixer: it writes", "func f1(x" + text + decoder.finish())
}
