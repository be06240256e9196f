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
