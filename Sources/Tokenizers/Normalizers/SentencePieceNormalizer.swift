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
  var map: CharacterMap? { didSet { findChangedBytes() } }
  /// Texts that are left as they are.
  var kept = ByteTrie() { didSet { findChangedBytes() } }
  /// Whether a text that is kept or replaced may begin with a byte.
  private var changedBytes = [Bool](repeating: false, count: 256)

  private mutating func findChangedBytes() {
    changedBytes = (UInt8.min ... .max).map {
      kept.mayBegin(with: $0) || map?.mayBegin(with: $0) == true
    }
  }

  func apply(_ text: inout [UInt8]) {
    let space = UInt8(ascii: " ")
    let written = marksSpaces ? Self.mark : [space]
    var result: [UInt8] = []
    result.reserveCapacity(text.count + text.count / 4)
    let isChanged = changedBytes
    text.withUnsafeBufferPointer { text in
      var start = 0
      if removesExtraSpaces {
        while start < text.count {
          let (end, replacement) = next(text, start, isChanged)
          let isSpace =
            replacement.map { $0.elementsEqual([space]) }
            ?? (end == start + 1 && text[start] == space)
          guard isSpace else { break }
          start = end
        }
      }
      guard start < text.count else { return }
      if addsPrefix { result += written }
      var isAfterSpace = removesExtraSpaces
      /// Appends what a part of the text becomes, without spaces after a space.
      func append(_ part: some RandomAccessCollection<UInt8>) {
        let rest = isAfterSpace ? part.drop { $0 == space } : part[...]
        if let last = rest.last {
          for byte in rest { if byte == space { result += written } else { result.append(byte) } }
          isAfterSpace = removesExtraSpaces && last == space
        }
      }
      while start < text.count {
        let (end, replacement) = next(text, start, isChanged)
        if let replacement { append(replacement) } else { append(text[start..<end]) }
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

  /// Where the next character or replaced text ends, and what replaces it; nil if nothing does.
  @inline(__always)
  private func next(
    _ text: UnsafeBufferPointer<UInt8>, _ start: Int, _ isChanged: [Bool]
  ) -> (end: Int, replacement: ArraySlice<UInt8>?) {
    if isChanged[Int(text[start])] {
      if let (_, end) = kept.longestMatch(in: text, at: start) { return (end, nil) }
      if let map, let (length, replacement) = map.match(in: text, at: start, end: text.count) {
        return (start + length, replacement)
      }
    }
    return (start + text.lengthOfScalar(at: start), nil)
  }
}
