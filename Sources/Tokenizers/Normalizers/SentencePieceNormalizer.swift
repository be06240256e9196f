/// What SentencePiece does to text before its models see it.
struct SentencePieceNormalizer: Sendable {
  /// Stands for spaces: U+2581.
  static let mark = Array("▁".utf8)

  /// Whether text begins with a space, its own or one more.
  var addsPrefix = true
  /// Whether spaces at the ends are removed, and of several beside each other all but one.
  var removesExtraSpaces = true
  /// Whether spaces become ``mark``.
  var marksSpaces = true
  /// What replaces characters, the longest match first.
  var map: CharacterMap?
  /// Texts that are left as they are.
  var kept = ByteTrie()

  func apply(_ text: inout [UInt8]) {
    let space = UInt8(ascii: " ")
    let written = marksSpaces ? Self.mark : [space]
    var result: [UInt8] = []
    result.reserveCapacity(text.count + text.count / 4)
    text.withUnsafeBufferPointer { text in
      var start = 0
      if removesExtraSpaces {
        while start < text.count {
          let (part, end) = next(text, start)
          guard part.elementsEqual([space]) else { break }
          start = end
        }
      }
      guard start < text.count else { return }
      if addsPrefix { result += written }
      var isAfterSpace = removesExtraSpaces
      while start < text.count {
        let (part, end) = next(text, start)
        let rest = isAfterSpace ? part.drop { $0 == space } : part
        if !rest.isEmpty {
          for byte in rest { if byte == space { result += written } else { result.append(byte) } }
          isAfterSpace = rest.last == space
        }
        if !removesExtraSpaces { isAfterSpace = false }
        start = end
      }
      if removesExtraSpaces {
        while result.suffix(written.count).elementsEqual(written) {
          result.removeLast(written.count)
        }
      }
    }
    text = result
  }

  /// What the next character or replaced text becomes, and where it ends.
  private func next(_ text: UnsafeBufferPointer<UInt8>, _ start: Int) -> (ArraySlice<UInt8>, Int) {
    if !kept.isEmpty, let (_, end) = kept.longestMatch(in: text, at: start) {
      return (ArraySlice(text[start..<end]), end)
    }
    if let map, let (length, replacement) = map.match(in: text, at: start, end: text.count) {
      return (replacement, start + length)
    }
    let end = start + text.lengthOfScalar(at: start)
    return (ArraySlice(text[start..<end]), end)
  }
}
