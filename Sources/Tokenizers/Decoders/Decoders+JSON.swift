/// The decoder of a `tokenizer.json`: its steps in order.
struct DecoderChain {
  private(set) var stages: [any DecoderStage] = []
  /// Whether the texts of tokens are one by now.
  private var isFused = false

  init(_ component: JSONComponent) throws { try append(component) }

  private mutating func append(_ component: JSONComponent) throws {
    switch try component.type {
    case "ByteLevel":
      stages.append(ByteLevelDecoder())
      isFused = true
    case "ByteFallback": stages.append(ByteFallbackDecoder())
    case "Fuse":
      stages.append(FuseDecoder())
      isFused = true
    case "Replace":
      let splitter = try component.splitter("pattern")
      // Text that is fused arrives in parts, at whose borders only single bytes of UTF-8 are found.
      if isFused, !splitter.isScalar {
        throw component.unsupported("a Replace of several characters after Fuse or ByteLevel")
      }
      stages.append(
        ReplaceDecoder(splitter: splitter, replacement: try component.utf8("content")))
    case "Strip":
      let character = try component.utf8("content", default: " ")
      guard !character.isEmpty else { throw component.invalid("content", mustBe: "a character") }
      let most = 1 << 20
      stages.append(
        StripDecoder(
          character: character, start: try component.integer("start", in: 0..<most),
          stop: try component.integer("stop", in: 0..<most), isFused: isFused))
    case "Metaspace": stages.append(MetaspaceDecoder(try Metaspace(component)))
    case "WordPiece":
      stages.append(
        WordPieceDecoder(
          prefix: try component.utf8("prefix", default: "##"),
          cleansUp: try component.bool("cleanup", default: true)))
    case "BPEDecoder":
      stages.append(SuffixDecoder(suffix: try component.utf8("suffix", default: "</w>")))
    case "CTC":
      stages.append(
        CTCDecoder(
          padding: try component.utf8("pad_token", default: "<pad>"),
          wordDelimiter: try component.utf8("word_delimiter_token", default: "|"),
          cleansUp: try component.bool("cleanup", default: true)))
    case "Sequence":
      for step in try component.components("decoders") { try append(step) }
    case let type: throw component.unsupported("the decoder \(type)")
    }
  }
}

extension Splitter {
  /// Whether every match is one character.
  fileprivate var isScalar: Bool {
    switch self {
    case .scalars: true
    case .text(let text): String(decoding: text, as: UTF8.self).unicodeScalars.count == 1
    case .pattern: false
    }
  }
}
