import FoundationEssentials
import AttentionLanguageModels

/// A configuration value that changed when a run was resumed.
public struct ConfigurationChange: Hashable, Sendable, CustomStringConvertible {
  /// The dotted path, as in overrides.
  public let key: String
  /// As JSON; nil if the key was absent.
  public let was: String?
  /// As JSON; nil if the key is absent.
  public let now: String?

  public var description: String {
    "\(key) was \(was ?? "absent") and is now \(now ?? "absent")"
  }

  /// The differences between two configurations, in alphabetical order of their keys.
  static func between(_ old: JSONValue, _ new: JSONValue) -> [ConfigurationChange] {
    between(old, new, path: [])
  }

  private static func between(
    _ old: JSONValue?, _ new: JSONValue?, path: [String]
  ) -> [ConfigurationChange] {
    guard old != new else { return [] }
    switch (old, new) {
    case (.object(let before)?, .object(let after)?):
      return Set(before.keys).union(after.keys).sorted().flatMap { key in
        between(before[key], after[key], path: path + [key])
      }
    case (.array(let before)?, .array(let after)?) where before.count == after.count:
      return before.indices.flatMap { index in
        between(before[index], after[index], path: path + ["\(index)"])
      }
    default:
      return [
        ConfigurationChange(
          key: path.map(word).joined(separator: "."), was: old.map(text), now: new.map(text))
      ]
    }
  }

  /// A key for a message. Keys that no configuration has may come from a file that another program wrote.
  private static func word(_ key: String) -> String {
    let isPlain = key.utf8.allSatisfy {
      (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0)
        || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || $0 == UInt8(ascii: "_")
    }
    return isPlain ? key : text(.string(key))
  }

  private static func text(_ value: JSONValue) -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return (try? encoder.encode(value)).map { String(decoding: $0, as: UTF8.self) }
      ?? value.summary
  }
}
