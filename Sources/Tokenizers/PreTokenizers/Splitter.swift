/// What cuts a text: where its matches are.
enum Splitter: Sendable {
  case pattern(RegularExpression)
  /// Each scalar of a set.
  case scalars(ScalarTable)
  /// Each occurrence of a text.
  case text([UInt8])

  /// Cuts every piece at the matches.
  ///
  /// - Parameter isInverted: whether what lies between the matches counts as matches, and these do not.
  func split(
    _ pieces: inout Pieces, _ behavior: SplitBehavior, isInverted: Bool = false
  ) throws(TokenizerError) {
    let oldStart = pieces.bounds.first
    var collector = SplitCollector(behavior, capacity: pieces.text.count / 2)
    var matches: [UInt32] = []
    var start = 0
    var piece = 0
    let bounds = pieces.bounds
    try pieces.forEach { (text) throws(TokenizerError) in
      start = Int(bounds[piece])
      piece += 2
      matches.removeAll(keepingCapacity: true)
      try appendMatches(in: text, to: &matches)
      collector.begin()
      var last = UInt32(0)
      let base = UInt32(start)
      for i in stride(from: 0, to: matches.count, by: 2) {
        collector.add(base + last, base + matches[i], isMatch: isInverted)
        collector.add(base + matches[i], base + matches[i + 1], isMatch: !isInverted)
        last = matches[i + 1]
      }
      collector.add(base + last, base + UInt32(text.count), isMatch: isInverted)
    }
    pieces.bounds = collector.bounds
    pieces.startsText = pieces.startsText && pieces.bounds.first == oldStart
  }

  /// Appends the start and the end of each match.
  func appendMatches(
    in text: UnsafeBufferPointer<UInt8>, to bounds: inout [UInt32]
  ) throws(TokenizerError) {
    switch self {
    case .pattern(let expression): try expression.appendMatches(in: text, to: &bounds)
    case .scalars(let table):
      var start = 0
      while start < text.count {
        let length = text.lengthOfScalar(at: start)
        if table.contains(text.scalar(at: start, length: length)) {
          bounds.append(UInt32(start))
          bounds.append(UInt32(start + length))
        }
        start += length
      }
    case .text(let wanted):
      guard !wanted.isEmpty else { return }
      var start = 0
      while start + wanted.count <= text.count {
        if text[start] == wanted[0], text[start..<start + wanted.count].elementsEqual(wanted) {
          bounds.append(UInt32(start))
          start += wanted.count
          bounds.append(UInt32(start))
        } else {
          start += 1
        }
      }
    }
  }

  /// Whether `wanted` occurs in `text`.
  static func contains(_ text: [UInt8], _ wanted: [UInt8]) -> Bool {
    var bounds: [UInt32] = []
    text.withUnsafeBufferPointer { text in
      try? Splitter.text(wanted).appendMatches(in: text, to: &bounds)
    }
    return !bounds.isEmpty
  }
}
