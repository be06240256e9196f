/// Takes a character away from the ends of each text, or of all of them together once they are fused.
struct StripDecoder: DecoderStage {
  let character: [UInt8]
  /// The most that are taken away at the start, and at the end.
  let start: Int
  let stop: Int
  let isFused: Bool

  /// How many more may be taken away at the start; 0 once another character came.
  private var startLeft: Int
  /// Of fused text: characters that are taken away if nothing follows.
  private var held = 0

  init(character: [UInt8], start: Int, stop: Int, isFused: Bool) {
    self.character = character
    self.start = start
    self.stop = stop
    self.isFused = isFused
    startLeft = start
  }

  mutating func append(_ text: [UInt8], to output: inout [[UInt8]]) {
    var rest = text[...]
    if !isFused { startLeft = start }
    while startLeft > 0, !rest.isEmpty {
      guard rest.starts(with: character) else {
        startLeft = 0
        break
      }
      rest = rest.dropFirst(character.count)
      startLeft -= 1
    }
    guard isFused else {
      for _ in 0..<stop where rest.count >= character.count && endsWithCharacter(rest) {
        rest = rest.dropLast(character.count)
      }
      return output.append(Array(rest))
    }
    guard !rest.isEmpty else { return }
    var trailing = 0
    while trailing < stop, endsWithCharacter(rest) {
      rest = rest.dropLast(character.count)
      trailing += 1
    }
    // What was held back stays, as far as newer characters take its place at the end.
    let kept = rest.isEmpty ? max(0, held + trailing - stop) : held
    var result: [UInt8] = []
    for _ in 0..<kept { result += character }
    held = held + trailing - kept
    output.append(result + rest)
  }

  mutating func finish(to output: inout [[UInt8]]) {
    held = 0
    startLeft = start
  }

  private func endsWithCharacter(_ text: ArraySlice<UInt8>) -> Bool {
    text.suffix(character.count).elementsEqual(character)
  }
}

/// Connectionist temporal classification (Graves et al. 2006): repeated tokens are one, padding is left out.
struct CTCDecoder: DecoderStage {
  let padding: [UInt8]
  let wordDelimiter: [UInt8]
  let cleansUp: Bool
  private var last: [UInt8]?

  init(padding: [UInt8], wordDelimiter: [UInt8], cleansUp: Bool) {
    self.padding = padding
    self.wordDelimiter = wordDelimiter
    self.cleansUp = cleansUp
  }

  mutating func append(_ text: [UInt8], to output: inout [[UInt8]]) {
    guard text != last else { return }
    last = text
    var text = text
    if !padding.isEmpty { try? Normalizer.replace(.text(padding), with: []).apply(&text) }
    if cleansUp {
      text = WordPieceDecoder.cleanedUp(text)
      try? Normalizer.replace(.text(wordDelimiter), with: [UInt8(ascii: " ")]).apply(&text)
    }
    if !text.isEmpty { output.append(text) }
  }

  mutating func finish(to output: inout [[UInt8]]) { last = nil }
}
