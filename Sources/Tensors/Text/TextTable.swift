/// Columns of text, aligned for a terminal.
package struct TextTable {
  package enum Side { case left, right }

  private let sides: [Side]
  private var rows: [[String]]

  /// - Parameter columns: the titles, and the alignment of each column's cells.
  package init(_ columns: KeyValuePairs<String, Side>) {
    rows = [columns.map(\.key)]
    sides = columns.map(\.value)
  }

  package mutating func append(_ cells: [String]) { rows.append(cells) }

  /// The table with two spaces between columns and none at the ends of lines. A last column that is
  /// left-aligned wraps at `width`.
  package func lines(width: Int = .max) -> [String] {
    var widths = sides.indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    if sides.last == .left {
      let before = widths.dropLast().reduce(0) { $0 + $1 + Self.gap }
      widths[widths.count - 1] = max(Self.narrowest, min(widths.last ?? 0, width - before))
    }
    return rows.flatMap { row -> [String] in
      let wrapped = sides.last == .left ? Self.wrap(row.last ?? "", widths.last ?? 0) : [row.last!]
      return wrapped.enumerated().map { line, last in
        var cells = line == 0 ? row : row.map { _ in "" }
        cells[cells.count - 1] = last
        return Self.trimmed(
          sides.indices.map { pad(cells[$0], widths[$0], sides[$0]) }
            .joined(separator: String(repeating: " ", count: Self.gap)))
      }
    }
  }

  private static let gap = 2
  private static let narrowest = 20

  private func pad(_ text: String, _ width: Int, _ side: Side) -> String {
    let space = String(repeating: " ", count: max(0, width - text.count))
    return side == .left ? text + space : space + text
  }

  private static func trimmed(_ line: String) -> String {
    var line = line
    while line.last == " " { line.removeLast() }
    return line
  }

  /// The words of `text` in lines of at most `width` characters; a longer word has a line of its own.
  package static func wrap(_ text: String, _ width: Int) -> [String] {
    var lines = [""]
    for word in text.split(separator: " ") {
      if lines[lines.count - 1].isEmpty {
        lines[lines.count - 1] = String(word)
      } else if lines[lines.count - 1].count + 1 + word.count <= width {
        lines[lines.count - 1] += " " + word
      } else {
        lines.append(String(word))
      }
    }
    return lines
  }
}
