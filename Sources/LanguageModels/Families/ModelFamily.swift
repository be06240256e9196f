import AttentionLayers

/// A family of published models: which configurations are its own, and what a model of one consists of.
///
/// A family is one function from a `config.json` to a ``ModelDescription``, in which the paths of parameters are
/// the names of the checkpoint's tensors.
struct ModelFamily: Sendable {
  /// The values of `model_type` in its configurations.
  let types: [String]
  let describe: @Sendable (PublishedConfiguration) throws -> ModelDescription

  init(
    _ types: String...,
    describe: @escaping @Sendable (PublishedConfiguration) throws -> ModelDescription
  ) {
    self.types = types
    self.describe = describe
  }

  /// All families of this package.
  static let all: [ModelFamily] =
    [
      .llama, .qwen2, .qwen3, .mixtral, .gemma2, .gemma3, .olmo2, .phi3, .granite, .gptOSS,
      .qwen3Next, .qwen35, .bamba, .falconH1, .graniteHybrid, .jamba, .nemotronH, .mamba,
      .falconMamba,
      .mamba2, .miniMax, .recurrentGemma, .deepSeekV2, .deepSeekV3, .kimiLinear,
    ] + flashLinearAttention + rwkv

  /// The family of a `model_type`.
  ///
  /// - Throws: ``ConfigurationError`` that names the nearest known one.
  static func named(_ type: String) throws -> ModelFamily {
    if let family = all.first(where: { $0.types.contains(type) }) { return family }
    let known = all.flatMap(\.types).sorted()
    let hint = nearest(to: type, among: known).map { " (did you mean \($0)?)" } ?? ""
    throw ConfigurationError.invalidValue(
      "model_type", was: "\"\(type)\"\(hint)",
      mustBe: "one of \(known.joined(separator: ", "))")
  }
}
