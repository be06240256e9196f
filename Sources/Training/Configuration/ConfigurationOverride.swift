import FoundationEssentials
import AttentionLanguageModels

/// A change to a configuration from the command line: `training.steps=20`.
///
/// The path descends through objects by key and through arrays by index; missing objects are created. The
/// value is read as JSON5 (`true`, `3e-4`, `[1, 2]`, `'text'`), or as plain text if it is not JSON5
/// (`output_directory=runs/a`).
public struct ConfigurationOverride: Hashable, Sendable {
  public let path: [String]
  public let value: JSONValue

  /// Deeper than any configuration; unlimited depth could exhaust the stack.
  private static let mostKeys = 64

  /// - Throws: `ConfigurationError.invalidValue(_:was:mustBe:)` if the text is not `key=value`.
  public init(_ text: String) throws {
    guard let equals = text.firstIndex(of: "=") else {
      throw ConfigurationError.invalidValue(
        "override", was: "\"\(text)\"", mustBe: "key=value, such as training.steps=20")
    }
    path = text[..<equals].split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    guard path.allSatisfy({ !$0.isEmpty }) else {
      throw ConfigurationError.invalidValue(
        "override", was: "\"\(text)\"", mustBe: "key=value with a dotted path as key")
    }
    guard path.count <= Self.mostKeys else {
      throw ConfigurationError.invalidValue(
        "override", was: "a path of \(path.count) keys", mustBe: "at most \(Self.mostKeys)")
    }
    let written = String(text[text.index(after: equals)...])
    value =
      (try? JSONValue(json5: Data(written.utf8), source: path.joined(separator: ".")))
      ?? .string(written)
  }

  /// Sets the value at the path.
  ///
  /// - Throws: `ConfigurationError.invalidValue(_:was:mustBe:)` if the path descends into a value that is
  ///   neither an object nor an array, or to a missing element of an array.
  public func apply(to tree: inout JSONValue) throws { try set(path[...], in: &tree) }

  private func set(_ rest: ArraySlice<String>, in node: inout JSONValue) throws {
    guard let key = rest.first else {
      node = value
      return
    }
    switch node {
    case .object(var members):
      var child = members[key] ?? .object([:])
      try set(rest.dropFirst(), in: &child)
      members[key] = child
      node = .object(members)
    case .array(var elements):
      guard let index = Int(key), elements.indices.contains(index) else {
        throw ConfigurationError.invalidValue(
          path.joined(separator: "."), was: "element \(key) of an array of \(elements.count)",
          mustBe: elements.isEmpty
            ? "an existing element" : "an element in 0..<\(elements.count)")
      }
      try set(rest.dropFirst(), in: &elements[index])
      node = .array(elements)
    default:
      throw ConfigurationError.invalidValue(
        path[..<rest.startIndex].joined(separator: "."), was: node.summary,
        mustBe: "an object or array with \(key)")
    }
  }
}
