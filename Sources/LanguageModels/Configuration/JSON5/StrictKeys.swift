extension Decoder {
  /// The container of an object whose keys must all be among `Key.allCases`.
  ///
  /// - Throws: ``ConfigurationError/unknownKey(_:nearest:known:)`` for the first other key in
  ///   alphabetical order.
  public func strictContainer<Key: CodingKey & CaseIterable>(
    keyedBy type: Key.Type
  ) throws -> KeyedDecodingContainer<Key> {
    try requireKeys(among: Key.allCases.map(\.stringValue))
    return try container(keyedBy: type)
  }

  /// Throws ``ConfigurationError/unknownKey(_:nearest:known:)`` for the first key in alphabetical order that
  /// the object has and `known` has not.
  func requireKeys(among known: [String]) throws {
    let present = try container(keyedBy: AnyKey.self).allKeys.map(\.stringValue)
    if let unknown = present.sorted().first(where: { !known.contains($0) }) {
      throw ConfigurationError.unknownKey(
        (codingPath + [AnyKey(unknown)]).dotted, nearest: nearest(to: unknown, among: known),
        known: known)
    }
  }
}

extension KeyedDecodingContainer {
  /// The value of `key`, or `otherwise` where the key is absent. A null is not absent.
  public func value<T: Decodable>(_ key: Key, default otherwise: T) throws -> T {
    contains(key) ? try value(key) : otherwise
  }

  /// The value of a key that has no default.
  public func value<T: Decodable>(_ key: Key, as type: T.Type = T.self) throws -> T {
    do { return try decode(type, forKey: key) } catch {
      if error is ConfigurationError { throw error }
      // A number that does not fit its type, or a name that is none of a few, which the decoder's own error
      // does not list; what is wrong inside of the value is named by its own path.
      if let error = error as? DecodingError {
        guard case .dataCorrupted(let context) = error,
          context.codingPath.count <= codingPath.count + 1
        else { throw error }
      }
      throw ConfigurationError.invalidValue(
        (codingPath + [key]).dotted,
        was: (try? decode(JSONValue.self, forKey: key))?.summary ?? "unreadable",
        mustBe: JSONValue.names(of: type) ?? JSONValue.kind(of: type))
    }
  }
}

/// A key that may have any name.
struct AnyKey: CodingKey {
  let stringValue: String
  let intValue: Int? = nil

  init(_ name: String) { stringValue = name }
  init?(stringValue: String) { self.stringValue = stringValue }
  init?(intValue: Int) { nil }
}

extension [any CodingKey] {
  /// The path as it is written in overrides and errors: `model.layers.2.type`.
  public var dotted: String {
    map { key in key.intValue.map(String.init) ?? key.stringValue }.joined(separator: ".")
  }
}

/// The candidate with the fewest edits to `word`, if a third of the word or less must change.
func nearest(to word: String, among candidates: [String]) -> String? {
  let longest = 100
  guard word.utf8.count <= longest else { return nil }
  let allowed = max(2, word.count / 3)
  let ranked = candidates.map { (candidate: $0, distance: editDistance(word, $0)) }
  guard let best = ranked.min(by: { $0.distance < $1.distance }), best.distance <= allowed else {
    return nil
  }
  return best.candidate
}

/// The number of insertions, deletions and replacements from one word to the other (Levenshtein).
private func editDistance(_ first: String, _ second: String) -> Int {
  let target = Array(second)
  var row = Array(0...target.count)
  for (i, letter) in first.enumerated() {
    var diagonal = row[0]
    row[0] = i + 1
    for (j, other) in target.enumerated() {
      let replaced = diagonal + (letter == other ? 0 : 1)
      diagonal = row[j + 1]
      row[j + 1] = min(replaced, row[j + 1] + 1, row[j] + 1)
    }
  }
  return row[target.count]
}
