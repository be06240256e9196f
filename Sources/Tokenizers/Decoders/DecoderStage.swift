/// One step from tokens back to text. It gets the texts of tokens in order, and passes on texts of its own; what it
/// cannot decide yet it holds back.
protocol DecoderStage: Sendable {
  /// Takes the next text, and appends what it passes on to `output`.
  mutating func append(_ text: [UInt8], to output: inout [[UInt8]])

  /// Appends what was held back, and begins anew.
  mutating func finish(to output: inout [[UInt8]])
}

extension DecoderStage {
  mutating func finish(to output: inout [[UInt8]]) {}
}

/// Characters of ``ByteAlphabet`` become their bytes; a token with another character keeps its own.
struct ByteLevelDecoder: DecoderStage {
  private var bytes = UTF8Decoder()

  mutating func append(_ text: [UInt8], to output: inout [[UInt8]]) {
    bytes.append(ByteAlphabet.bytes(of: text) ?? text, to: &output)
  }

  mutating func finish(to output: inout [[UInt8]]) { bytes.finish(to: &output) }
}

/// Tokens of any bytes, which together are UTF-8.
struct UTF8Decoder: DecoderStage {
  private var repair = UTF8Repair()

  mutating func append(_ text: [UInt8], to output: inout [[UInt8]]) {
    var result: [UInt8] = []
    repair.append(text, to: &result)
    if !result.isEmpty { output.append(result) }
  }

  mutating func finish(to output: inout [[UInt8]]) {
    var result: [UInt8] = []
    repair.finish(into: &result)
    if !result.isEmpty { output.append(result) }
  }
}

/// Runs of the tokens `<0x00>` … `<0xFF>` become text.
struct ByteFallbackDecoder: DecoderStage {
  /// Whether a run that is not UTF-8 keeps its characters, with U+FFFD for every other byte; otherwise all of it
  /// becomes as many U+FFFD.
  private let keepsCharacters: Bool
  private var run: [UInt8] = []

  init(keepsCharacters: Bool = false) { self.keepsCharacters = keepsCharacters }

  mutating func append(_ text: [UInt8], to output: inout [[UInt8]]) {
    if let byte = ByteToken.byte(text) {
      run.append(byte)
    } else {
      finish(to: &output)
      output.append(text)
    }
  }

  mutating func finish(to output: inout [[UInt8]]) {
    guard !run.isEmpty else { return }
    if String(validating: run, as: UTF8.self) != nil {
      output.append(run)
    } else {
      output.append(run.indices.reduce(into: []) { $0 += replacement(of: $1) })
    }
    run = []
  }

  /// What becomes of the byte at `index` of a run that is not UTF-8; all of a character comes with its first byte.
  private func replacement(of index: Int) -> [UInt8] {
    guard keepsCharacters else { return UTF8Repair.replacement }
    func character(at start: Int) -> ArraySlice<UInt8>? {
      (1...4).lazy.map { run[start...].prefix($0) }
        .first { String(validating: $0, as: UTF8.self) != nil }
    }
    if let character = character(at: index) { return Array(character) }
    let isInside = (1...3).contains { distance in
      index >= distance && (character(at: index - distance)?.count ?? 0) > distance
    }
    return isInside ? [] : UTF8Repair.replacement
  }
}

/// The texts are one from here on.
struct FuseDecoder: DecoderStage {
  mutating func append(_ text: [UInt8], to output: inout [[UInt8]]) { output.append(text) }
}

/// Every occurrence of a pattern becomes another text.
struct ReplaceDecoder: DecoderStage {
  let splitter: Splitter
  let replacement: [UInt8]

  mutating func append(_ text: [UInt8], to output: inout [[UInt8]]) {
    var text = text
    // The steps of an expression are limited; text beyond the limit stays as it is.
    try? Normalizer.replace(splitter, with: replacement).apply(&text)
    output.append(text)
  }
}

/// Marks of word beginnings become spaces; those of the first token are left out unless texts begin without.
struct MetaspaceDecoder: DecoderStage {
  let metaspace: Metaspace
  private var isFirst = true

  init(_ metaspace: Metaspace) { self.metaspace = metaspace }

  mutating func append(_ text: [UInt8], to output: inout [[UInt8]]) {
    let isDropped = isFirst && metaspace.prefix != .never
    isFirst = false
    var text = text
    try? Normalizer.replace(
      .text(metaspace.replacement), with: isDropped ? [] : [UInt8(ascii: " ")]
    ).apply(&text)
    output.append(text)
  }

  mutating func finish(to output: inout [[UInt8]]) { isFirst = true }
}

/// Words are joined by spaces, their continuations without; spaces that English does without are taken away.
struct WordPieceDecoder: DecoderStage {
  let prefix: [UInt8]
  let cleansUp: Bool
  private var isFirst = true

  init(prefix: [UInt8], cleansUp: Bool) {
    self.prefix = prefix
    self.cleansUp = cleansUp
  }

  mutating func append(_ text: [UInt8], to output: inout [[UInt8]]) {
    var text = text
    if !isFirst {
      if !prefix.isEmpty, text.starts(with: prefix) {
        text.removeFirst(prefix.count)
      } else {
        text.insert(UInt8(ascii: " "), at: 0)
      }
    }
    isFirst = false
    output.append(cleansUp ? Self.cleanedUp(text) : text)
  }

  mutating func finish(to output: inout [[UInt8]]) { isFirst = true }

  static func cleanedUp(_ text: [UInt8]) -> [UInt8] {
    let replacements = [
      (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"),
      (" 'm", "'m"), (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
    ]
    return replacements.reduce(into: text) { text, pair in
      try? Normalizer.replace(.text(Array(pair.0.utf8)), with: Array(pair.1.utf8)).apply(&text)
    }
  }
}

/// The mark of a word's end becomes a space, in the last token nothing.
struct SuffixDecoder: DecoderStage {
  let suffix: [UInt8]
  private var held: [UInt8]?

  init(suffix: [UInt8]) { self.suffix = suffix }

  mutating func append(_ text: [UInt8], to output: inout [[UInt8]]) {
    emit(with: [UInt8(ascii: " ")], to: &output)
    held = text
  }

  mutating func finish(to output: inout [[UInt8]]) { emit(with: [], to: &output) }

  private mutating func emit(with replacement: [UInt8], to output: inout [[UInt8]]) {
    guard var text = held else { return }
    held = nil
    try? Normalizer.replace(.text(suffix), with: replacement).apply(&text)
    output.append(text)
  }
}

/// A space between tokens, where no decoder says otherwise.
struct SpacingDecoder: DecoderStage {
  private var isFirst = true

  mutating func append(_ text: [UInt8], to output: inout [[UInt8]]) {
    output.append(isFirst ? text : [UInt8(ascii: " ")] + text)
    isFirst = false
  }

  mutating func finish(to output: inout [[UInt8]]) { isFirst = true }
}
