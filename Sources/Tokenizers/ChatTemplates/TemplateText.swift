/// Functions of text, by scalars as in Python.
enum TemplateText {
  /// Without the scalars of a set, or white space, at its ends.
  static func stripped(_ text: String, of set: String?, left: Bool, right: Bool) -> String {
    let set = set.map { Set($0.unicodeScalars) }
    func isStripped(_ scalar: Unicode.Scalar) -> Bool {
      set?.contains(scalar) ?? isSpace(scalar)
    }
    var rest = text.unicodeScalars[...]
    while left, let first = rest.first, isStripped(first) { rest.removeFirst() }
    while right, let last = rest.last, isStripped(last) { rest.removeLast() }
    return String(rest)
  }

  /// White space as of Python, which counts the separators of ASCII to it.
  static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
    scalar.properties.isWhitespace || (0x1C...0x1F).contains(scalar.value)
  }

  /// Where `part` begins in `text`, in scalars.
  static func places(of part: String, in text: String, overlapping: Bool) -> [Int] {
    let (scalars, wanted) = (Array(text.unicodeScalars), Array(part.unicodeScalars))
    guard !wanted.isEmpty else { return Array(0...scalars.count) }
    var places: [Int] = []
    var place = 0
    while place + wanted.count <= scalars.count {
      if scalars[place] == wanted[0], scalars[place..<place + wanted.count].elementsEqual(wanted) {
        places.append(place)
        place += overlapping ? 1 : wanted.count
      } else {
        place += 1
      }
    }
    return places
  }

  /// `text` with the first `most` occurrences of `old` replaced. The interpreter counts the text before it is made.
  static func replacing(
    _ text: String, _ old: String, with new: String, most: Int,
    _ interpreter: inout TemplateInterpreter
  ) throws -> String {
    let scalars = Array(text.unicodeScalars)
    let length = old.unicodeScalars.count
    let places = places(of: old, in: text, overlapping: false).prefix(most)
    let (added, isTooLarge) = new.utf8.count.multipliedReportingOverflow(by: places.count)
    try interpreter.countText(bytes: isTooLarge ? .max : text.utf8.count)
    try interpreter.countText(bytes: added)
    var result = String.UnicodeScalarView()
    var done = 0
    for place in places {
      result.append(contentsOf: scalars[done..<place])
      result.append(contentsOf: new.unicodeScalars)
      done = place + length
    }
    result.append(contentsOf: scalars[done...])
    return String(result)
  }

  /// Texts one behind the other, with a separator between. The interpreter counts the text before it is made.
  static func joined(
    _ parts: [String], by separator: String, _ interpreter: inout TemplateInterpreter
  ) throws -> String {
    for part in parts { try interpreter.countText(bytes: part.utf8.count + separator.utf8.count) }
    return parts.joined(separator: separator)
  }

  /// The parts between separators; between runs of white space, without empty parts, if there is none.
  static func split(_ text: String, by separator: String?, most: Int, fromEnd: Bool) -> [String] {
    let scalars = Array(text.unicodeScalars)
    func string(_ range: Range<Int>) -> String { String(String.UnicodeScalarView(scalars[range])) }
    var gaps: [Range<Int>] = []
    if let separator {
      let length = separator.unicodeScalars.count
      if fromEnd {
        // Occurrences that overlap are found from the end.
        let reversed = { (text: String) in
          String(String.UnicodeScalarView(text.unicodeScalars.reversed()))
        }
        gaps = places(of: reversed(separator), in: reversed(text), overlapping: false)
          .map { scalars.count - $0 - length..<scalars.count - $0 }.reversed()
      } else {
        gaps = places(of: separator, in: text, overlapping: false).map { $0..<$0 + length }
      }
      gaps = fromEnd ? gaps.suffix(most) : Array(gaps.prefix(most))
      var parts: [String] = []
      var start = 0
      for gap in gaps {
        parts.append(string(start..<gap.lowerBound))
        start = gap.upperBound
      }
      return parts + [string(start..<scalars.count)]
    }
    var words: [Range<Int>] = []
    var start: Int?
    for (place, scalar) in scalars.enumerated() {
      if isSpace(scalar) {
        if let begin = start { words.append(begin..<place) }
        start = nil
      } else if start == nil {
        start = place
      }
    }
    if let start { words.append(start..<scalars.count) }
    guard words.count > most else { return words.map(string) }
    if fromEnd {
      let end = words[words.count - most - 1].upperBound
      return [string(words[0].lowerBound..<end)] + words.suffix(most).map(string)
    }
    let rest = stripped(
      string(words[most].lowerBound..<scalars.count), of: nil, left: false, right: false)
    return words.prefix(most).map(string) + [rest]
  }

  /// The lines of a text, without their ends.
  static func lines(_ text: String) -> [String] {
    var lines: [String] = []
    var line = String.UnicodeScalarView()
    var isAfterReturn = false
    for scalar in text.unicodeScalars {
      if scalar == "\n", isAfterReturn {
        isAfterReturn = false
        continue
      }
      isAfterReturn = scalar == "\r"
      switch scalar.value {
      case 0x0A...0x0D, 0x1C...0x1E, 0x85, 0x2028, 0x2029:
        lines.append(String(line))
        line = .init()
      default: line.append(scalar)
      }
    }
    if !line.isEmpty { lines.append(String(line)) }
    return lines
  }

  /// Whether all of a text is of a kind: `isdigit`, `isalpha`…
  static func has(_ kind: String, _ text: String) -> Bool {
    let scalars = text.unicodeScalars
    switch kind {
    case "isdigit":
      return scalars.allSatisfy {
        $0.properties.numericType == .decimal || $0.properties.numericType == .digit
      }
    case "isalpha": return scalars.allSatisfy { ScalarSet.letters.contains($0.value) }
    case "isalnum":
      return scalars.allSatisfy {
        ScalarSet.letters.contains($0.value) || $0.properties.numericType != nil
      }
    case "isspace": return scalars.allSatisfy(isSpace)
    case "islower": return TextCase.isLower(text)
    default: return TextCase.isUpper(text)
    }
  }
}
