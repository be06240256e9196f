/// Cuts text into pieces, and writes them as the model wants them.
enum PreTokenizer: Sendable {
  case split(Splitter, SplitBehavior, isInverted: Bool)
  /// Each byte as one visible character (``ByteAlphabet``).
  case byteLevel(prefix: Bool, pattern: RegularExpression?)
  case metaspace(Metaspace)
  case scripts
  case sequence([PreTokenizer])

  func apply(_ pieces: inout Pieces) throws(TokenizerError) {
    switch self {
    case .split(let splitter, let behavior, let isInverted):
      try splitter.split(&pieces, behavior, isInverted: isInverted)
    case .byteLevel(let prefix, let pattern):
      if prefix { Self.addSpaces(to: &pieces) }
      if let pattern { try Splitter.pattern(pattern).split(&pieces, .isolated) }
      pieces.transform { piece, _, text in
        for byte in piece { ByteAlphabet.append(byte, to: &text) }
      }
    case .metaspace(let metaspace): try metaspace.apply(&pieces)
    case .scripts: UnicodeScriptSplit.apply(&pieces)
    case .sequence(let steps): for step in steps { try step.apply(&pieces) }
    }
  }

  /// A space before each piece that begins with none.
  private static func addSpaces(to pieces: inout Pieces) {
    let space = UInt8(ascii: " ")
    pieces.transform { piece, _, text in
      if piece.first != space { text.append(space) }
      text += piece
    }
  }

  /// GPT-2's expression, which `ByteLevel` splits by.
  static let byteLevelPattern =
    #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#
}

/// Spaces as a visible character, most often `▁`.
struct Metaspace: Sendable {
  /// When a text without a space before it gets one.
  enum Prefix: String, CaseIterable, Sendable { case always, never, first }

  let replacement: [UInt8]
  let prefix: Prefix
  /// Whether pieces end before each replacement.
  let splits: Bool

  func apply(_ pieces: inout Pieces) throws(TokenizerError) {
    let startsText = pieces.startsText
    pieces.transform { piece, index, text in
      let begins =
        piece.starts(with: replacement) || piece.first == UInt8(ascii: " ") && !piece.isEmpty
      let wanted = prefix == .always || prefix == .first && index == 0 && startsText
      if wanted, !begins { text += replacement }
      for byte in piece {
        if byte == UInt8(ascii: " ") { text += replacement } else { text.append(byte) }
      }
    }
    if splits { try Splitter.text(replacement).split(&pieces, .mergedWithNext) }
  }
}

/// Cuts where the script changes. Han, Hiragana and Katakana are one; spaces belong to what is before them.
enum UnicodeScriptSplit {
  private static let common = "Common"
  private static let any = "Any"
  /// Hiragana, Katakana and their long vowel mark are written beside Han.
  private static let han: Set = ["Hiragana", "Katakana"]

  static func apply(_ pieces: inout Pieces) {
    var bounds: [UInt32] = []
    let old = pieces.bounds
    pieces.text.withUnsafeBufferPointer { text in
      for i in stride(from: 0, to: old.count, by: 2) {
        var start = Int(old[i])
        let end = Int(old[i + 1])
        var last: String?
        var begin = start
        while start < end {
          let length = text.lengthOfScalar(at: start)
          let script = script(of: text.scalar(at: start, length: length))
          if script != any, let known = last, known != any, known != script, start > begin {
            bounds += [UInt32(begin), UInt32(start)]
            begin = start
          }
          if script != any || last == nil { last = script }
          start += length
        }
        if begin < end { bounds += [UInt32(begin), UInt32(end)] }
      }
    }
    pieces.bounds = bounds
  }

  private static func script(of scalar: UInt32) -> String {
    if scalar == 0x20 { return any }
    if scalar == 0x30FC { return "Han" }
    let runs = UnicodeScript.runs
    var (low, high) = (0, runs.count - 1)
    while low < high {
      let middle = (low + high) / 2
      if runs[middle].scalars.upperBound < scalar { low = middle + 1 } else { high = middle }
    }
    let name = runs[low].name
    if han.contains(name) { return "Han" }
    return name == "Unknown" ? any : name
  }
}
