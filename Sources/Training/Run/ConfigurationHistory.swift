import FoundationEssentials
import AttentionLanguageModels

/// The configurations of a run in the order in which it took them: `configurations.jsonl`, an object a
/// line.
///
///     {"after_step":0,"configuration":{…}}
///     {"after_step":200,"configuration":{…}}
///
/// A run may be continued with another learning rate, more steps and the like. The file tells which
/// steps were taken with which; `configuration.json` is the last of them.
struct ConfigurationHistory {
  struct Entry: Codable, Equatable {
    /// The steps that were done when the run took the configuration.
    let afterStep: Int
    let configuration: JSONValue

    enum CodingKeys: String, CodingKey {
      case afterStep = "after_step"
      case configuration
    }
  }

  private(set) var entries: [Entry]
  /// What the configuration that was given last differs in from the one before.
  private(set) var changes: [ConfigurationChange] = []

  /// Reads what the run in `folder` had for the steps up to `step`; later ones were taken back.
  ///
  /// Runs that have no such file have at most `configuration.json`, which then is what they began with.
  ///
  /// - Throws: ``TrainingError/notRead(path:reason:)``.
  init(folder: String, before step: Int) throws {
    let path = RunFile.history.path(in: folder)
    if let text = try RunFile.read(path) {
      entries = try text.split(separator: UInt8(ascii: "\n")).map { line in
        guard let entry = try? JSONDecoder().decode(Entry.self, from: line) else {
          throw TrainingError.notRead(
            path: path, reason: "a line of it is not a configuration with its step")
        }
        return entry
      }
    } else {
      let text = try RunFile.read(RunFile.configuration.path(in: folder))
      let first = text.flatMap { try? JSONDecoder().decode(JSONValue.self, from: $0) }
      entries = first.map { [Entry(afterStep: 0, configuration: $0)] } ?? []
    }
    entries.removeAll { $0.afterStep >= step }
  }

  /// Goes on with `configuration` after `step` steps.
  mutating func take(_ configuration: TrainingConfiguration, after step: Int) throws {
    let tree = try JSONValue(encoding: configuration)
    let last = entries.last?.configuration
    changes = last.map { ConfigurationChange.between($0, tree) } ?? []
    if tree != last { entries.append(Entry(afterStep: step, configuration: tree)) }
  }

  /// Writes both files where they are not so already.
  func write(to folder: String) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    let lines = try entries.map { String(decoding: try encoder.encode($0), as: UTF8.self) + "\n" }
    try RunFile.history.update(lines.joined(), in: folder)
    if let last = entries.last {
      let text = try last.configuration.serialized()
      try RunFile.configuration.update(String(decoding: text, as: UTF8.self), in: folder)
    }
  }
}
