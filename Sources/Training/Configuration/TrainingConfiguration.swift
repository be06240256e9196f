import AttentionLanguageModels
import AttentionTensors

/// The configuration of a training run: the model, the text, the training and the final sample.
///
///     {
///       model: { hidden_size: 128, layers: [{ type: "softmax" }, { type: "gated_linear" }] },
///       data: { paths: [".."] },
///       training: { steps: 600, output_directory: "runs/tiny" },
///       sample: { prompt: "func " },
///     }
public struct TrainingConfiguration: Codable, Equatable, Sendable {
  public var model: ModelSource
  public var data = DataConfiguration()
  public var training = TrainingSettings()
  public var sample = SampleConfiguration()

  /// A run that trains a new model.
  public init(model: LanguageModelConfiguration) { self.init(training: .configuration(model)) }

  public init(training model: ModelSource) { self.model = model }

  enum CodingKeys: String, CodingKey, CaseIterable { case model, data, training, sample }

  public init(from decoder: any Decoder) throws {
    let values = try decoder.strictContainer(keyedBy: CodingKeys.self)
    self.init(training: try values.value(.model))
    data = try values.value(.data, default: data)
    training = try values.value(.training, default: training)
    sample = try values.value(.sample, default: sample)
  }

  /// Reads a JSON5 file and applies `key=value` overrides to it. Without `training.output_directory` the
  /// output folder is named after the file: `runs/tiny` for `Examples/tiny.json5`.
  ///
  /// - Parameters:
  ///   - path: the file's path.
  ///   - overrides: in the form of ``ConfigurationOverride``, applied in order.
  /// - Throws: `ConfigurationError` if the file cannot be read or a value is invalid.
  public init(file path: String, overrides: [String] = []) throws {
    var tree = try JSONValue(json5File: path)
    for override in overrides { try ConfigurationOverride(override).apply(to: &tree) }
    self = try tree.decoded(as: TrainingConfiguration.self)
    let section = TrainingConfiguration.CodingKeys.training
    if tree[[section, TrainingSettings.CodingKeys.outputDirectory]] == nil {
      training.outputDirectory = "runs/" + Self.name(of: path)
    }
  }

  /// The name of a file without its extension.
  private static func name(of path: String) -> String {
    let name = path.split(separator: "/").last.map(String.init) ?? ""
    let stem = name.lastIndex(of: ".").map { String(name[..<$0]) } ?? name
    // A name that begins with a dot is hidden, or means another folder.
    return stem.isEmpty || stem.hasPrefix(".") ? "model" : stem
  }
}

/// The dtype that a model computes in during training.
///
/// Parameters, moments and checkpoints are always float32. With `bfloat16` each step rounds the parameters,
/// so that matrix products and the activations kept for the gradients take half the memory; the optimizer
/// updates the unrounded parameters, which small updates do not vanish in.
///
/// Reference: Micikevicius et al., *Mixed precision training* (2018).
public enum Precision: String, CaseIterable, Hashable, Sendable, Codable {
  case float32, bfloat16

  public var dtype: DType {
    switch self {
    case .float32: .float32
    case .bfloat16: .bfloat16
    }
  }
}

/// Checks the values of a section and keeps the first failure.
struct ValueChecks {
  private let section: String
  private var failure: ConfigurationError?

  init(section: String) { self.section = section }

  mutating func that(_ holds: Bool, _ key: String, was: String, mustBe: String) {
    guard !holds, failure == nil else { return }
    let path = section.isEmpty ? key : section + "." + key
    failure = .invalidValue(path, was: was, mustBe: mustBe)
  }

  mutating func that(_ value: Int, _ key: String, isAtLeast least: Int) {
    that(value >= least, key, was: "\(value)", mustBe: "at least \(least)")
  }

  /// Also rejects infinities and NaN.
  mutating func that(_ value: Double, _ key: String, isAtLeast least: Double) {
    that(value >= least && value.isFinite, key, was: "\(value)", mustBe: "at least \(least)")
  }

  mutating func that(isPositive value: Double, _ key: String) {
    that(value > 0 && value.isFinite, key, was: "\(value)", mustBe: "above 0")
  }

  /// Rejects the NUL character, at which the system would cut off the path.
  mutating func that(isPath value: String, _ key: String) {
    that(
      !value.utf8.contains(0), key, was: "a string with a NUL character",
      mustBe: "a path, which has none")
  }

  func finish() throws { if let failure { throw failure } }
}
