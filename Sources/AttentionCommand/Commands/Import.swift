import ArgumentParser
import AttentionLanguageModels
import AttentionLayers
import AttentionTensors
import FoundationEssentials

/// `attention import`
struct Import: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "What a published model's folder holds, and what of it is not known here.",
    discussion: """
      Reads config.json and the weights as transformers writes them, and prints the family, the layers, the \
      parameters and the keys of the configuration that nothing reads. With --output it writes the model to \
      another folder, in the same format, with --dtype converted.

      A file of torch.save with RWKV-7's weights, by the names of its authors, becomes such a folder too; its \
      vocabulary, rwkv_vocab_v20230424.txt, is published apart and belongs into the folder.
      """)

  @Argument(help: "A folder with config.json and safetensors files, or a .pth file of RWKV-7.")
  var folder: String

  @Option(
    name: [.customShort("o"), .customLong("output")],
    help: ArgumentHelp("The folder to write. Default none.", valueName: "folder"))
  var output: String?

  @Option(help: "The dtype of the written weights. Default that of the file.")
  var dtype: DType?

  func run() throws {
    guard !folder.hasSuffix(".pth") else {
      let checkpoint = try RWKV7File(path: folder).checkpoint(dtype: SavedModel.checked(dtype))
      return try finish(checkpoint, family: "rwkv7", unreadKeys: [])
    }
    let model = try PublishedModel(folder: folder)
    let checkpoint = try model.checkpoint(dtype: SavedModel.checked(dtype))
    try finish(checkpoint, family: model.family, unreadKeys: model.unreadKeys) {
      try model.copyOtherFiles(to: $0)
    }
  }

  /// Prints what was found, and writes it.
  private func finish(
    _ checkpoint: Checkpoint, family: String, unreadKeys: [String],
    adding: (String) throws -> Void = { _ in }
  ) throws {
    let parameters = checkpoint.parameters
    let description = checkpoint.description
    print("family      \(family)")
    print("layers      \(description.layers.count)")
    for line in LayerSummary.lines(of: description) { print("            \(line)") }
    print("hidden      \(description.hiddenSize)")
    print("vocabulary  \(description.vocabularySize)")
    print("parameters  \(parameters.count) in \(parameters.paths.count) tensors")
    print("dtype       \(parameters.tensors.first?.dtype.rawValue ?? "none")")
    if !unreadKeys.isEmpty {
      print("not read    \(unreadKeys.joined(separator: ", "))")
    }
    guard let output else { return }
    guard !FileManager.default.fileExists(atPath: output) else {
      throw CommandError("--output", was: "\(output), which exists", mustBe: "a new folder")
    }
    try checkpoint.write(to: output, adding: adding)
  }
}

/// The kinds of layers of a model, each once, with the numbers of those that are alike.
private enum LayerSummary {
  static func lines(of description: ModelDescription) -> [String] {
    let kinds = description.layers.map { layer in
      layer.steps.map { step in
        step.parts.map(name).joined(separator: " beside ")
      }.joined(separator: ", ")
    }
    var order: [String] = []
    for kind in kinds where !order.contains(kind) { order.append(kind) }
    return order.map { kind in "\(kinds.count { $0 == kind }) × \(kind)" }
  }

  private static func name(_ part: PartDescription) -> String {
    switch part.kind {
    case .mixer(let mixer): type(of: mixer).name
    case .feedForward(let options): "feed-forward of \(options.inner)"
    case .experts(let options):
      "\(options.chosen) of \(options.experts) experts of \(options.expert.inner)"
    }
  }
}
