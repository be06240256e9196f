import FoundationEssentials
import AttentionLanguageModels

/// The configurations of a run in the order in which it used them: `configurations.jsonl`, one object per
/// line.
///
///     {"after_step":0,"configuration":{…}}
///     {"after_step":200,"configuration":{…}}
///
/// A run may be resumed with another learning rate, more steps and so on. The file records which steps were
/// taken with which configuration; `configuration.json` is the last.
struct ConfigurationHistory {
  struct Entry: Codable, Equatable {
    /// The number of steps done when the run started to use the configuration.
    let afterStep: Int
    let configuration: JSONValue

    enum CodingKeys: String, CodingKey {
      case afterStep = "after_step"
      case configuration
    }
  }

  private(set) var entries: [Entry]
  /// The differences of the last configuration from the one before.
  private(set) var changes: [ConfigurationChange] = []

  /// Reads the configurations of the run in `folder` up to `step`; later ones are dropped.
  ///
  /// Runs without this file have at most `configuration.json`, which then is their first configuration.
  ///
  /// - Throws: ``TrainingError/notRead(path:reason:)`` if a file cannot be read.
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

  /// Continues with `configuration` after `step` steps.
  mutating func take(_ configuration: TrainingConfiguration, after step: Int) throws {
    let tree = try JSONValue(encoding: configuration)
    let last = entries.last?.configuration
    changes = last.map { ConfigurationChange.between($0, tree) } ?? []
    if tree != last { entries.append(Entry(afterStep: step, configuration: tree)) }
  }

  /// Writes both files, unless they already have these contents.
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
