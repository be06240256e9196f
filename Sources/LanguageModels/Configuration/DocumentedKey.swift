/// A documented key of a configuration, for the list of all keys. Each section's type has an enum of its
/// keys, so that none is missing from the list.
///
///     enum CodingKeys: String, DocumentedKey {
///       case decay
///       var meaning: String { "the weight of one token relative to the next" }
///     }
public protocol DocumentedKey: CodingKey, CaseIterable, Hashable {
  /// The meaning of the value, in a few words.
  var meaning: String { get }
  /// The default in words, if it is not a value; nil if the section's default value is listed.
  var absence: String? { get }
}

extension DocumentedKey {
  public var absence: String? { nil }
}

/// The keys of one section of a configuration, with their defaults and meanings.
package struct DocumentedSection {
  package struct Entry {
    package let key: String
    package let absence: String
    package let meaning: String
  }

  package let title: String
  package let introduction: String
  package let entries: [Entry]

  /// - Parameters:
  ///   - title: the section's path, and its type if there are several.
  ///   - introduction: a sentence or two.
  ///   - keys: the keys of the section.
  ///   - defaults: the section without any key given.
  package init(
    _ title: String, _ introduction: String, _ keys: [any DocumentedKey], defaults: some Encodable
  ) throws {
    self.title = title
    self.introduction = introduction
    let values = try JSONValue(encoding: defaults)
    entries = try keys.map { key in
      var absence = key.absence
      if absence == nil, let value = values[[key as any CodingKey]] {
        absence = "`\(try value.line())`"
      }
      return Entry(key: key.stringValue, absence: absence ?? "none", meaning: key.meaning)
    }
  }

  /// A heading and a table in Markdown, with aligned columns.
  package var markdown: String {
    let rows =
      [["key", "default", "meaning"]]
      + entries.map { ["`\($0.key)`", $0.absence, $0.meaning] }
    let widths = (0..<3).map { column in rows.map { $0[column].count }.max() ?? 0 }
    func line(_ cells: [String]) -> String {
      let padded = zip(cells.dropLast(), widths).map {
        $0 + String(repeating: " ", count: $1 - $0.count)
      }
      return "| " + (padded + [cells[2]]).joined(separator: " | ") + " |"
    }
    let rule = "| " + ["---", "---", "---"].joined(separator: " | ") + " |"
    return
      (["## \(title)", "", introduction, "", line(rows[0]), rule] + rows.dropFirst().map(line))
      .joined(separator: "\n")
  }
}
