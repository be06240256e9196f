/// How untrusted text appears in messages: names and values from files, paths, arguments.
extension String {
  /// This text for a message on a terminal: on one line, without characters that move the cursor, change
  /// colours or reverse the direction of writing, and at most a few lines long. The middle of longer text
  /// is replaced by its size in bytes.
  package var shown: String {
    let (head, tail) = (1500, 500)
    let bytes = utf8
    guard bytes.count > head + tail else { return escaped }
    // Cut at character boundaries, so that both parts are valid text.
    var start = bytes.index(bytes.startIndex, offsetBy: head)
    while !Self.isBoundary(bytes[start]) { bytes.formIndex(before: &start) }
    var end = bytes.index(bytes.endIndex, offsetBy: -tail)
    while end != bytes.endIndex, !Self.isBoundary(bytes[end]) { bytes.formIndex(after: &end) }
    let left = bytes.distance(from: start, to: end)
    return "\(String(self[..<start]).escaped)… (\(left) bytes) …\(String(self[end...]).escaped)"
  }

  /// Whether a byte of UTF-8 starts a character.
  private static func isBoundary(_ byte: UInt8) -> Bool { byte & 0xC0 != 0x80 }

  /// This text with everything that a terminal would act on escaped, as `\u{1B}`.
  package var escaped: String { escaped(keeping: []) }

  /// The same, leaving the characters in `kept` as they are.
  package func escaped(keeping kept: Set<Unicode.Scalar>) -> String {
    func isHarmless(_ scalar: Unicode.Scalar) -> Bool { !scalar.isObeyed || kept.contains(scalar) }
    guard !unicodeScalars.allSatisfy(isHarmless) else { return self }
    return unicodeScalars.reduce(into: "") { text, scalar in
      if isHarmless(scalar) {
        text.unicodeScalars.append(scalar)
      } else {
        text += "\\u{\(String(scalar.value, radix: 16, uppercase: true))}"
      }
    }
  }
}

extension Unicode.Scalar {
  /// Whether a terminal acts on this character: control characters, ends of lines and paragraphs, and
  /// marks that turn the direction of writing.
  fileprivate var isObeyed: Bool {
    switch value {
    case 0x00..<0x20, 0x7F..<0xA0, 0x2028, 0x2029: true
    case 0x061C, 0x200E, 0x200F, 0x202A...0x202E, 0x2066...0x2069: true
    default: false
    }
  }
}
