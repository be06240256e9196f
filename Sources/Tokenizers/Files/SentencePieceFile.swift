/// Reads a model of SentencePiece (Kudo and Richardson 2018).
struct SentencePieceFile {
  /// What a piece is, as numbered in the file.
  private enum Kind: UInt64 {
    case normal = 1
    case unknown, control, userDefined, unused, byte
  }

  private let source: String
  private var texts = ByteStrings()
  private var scores: [Float] = []
  private var kinds: [Kind] = []
  private var modelType: UInt64 = 1
  private var fallsBackToBytes = false
  private var marksWordEnds = false
  private var unknownText = " \u{2047} "
  private var normalizer = SentencePieceNormalizer()
  private var characterMap: [UInt8] = []

  /// - Throws: ``TokenizerError``.
  static func read(_ bytes: [UInt8], source: String) throws -> TextTokenizer.Parts {
    var file = SentencePieceFile(source: source)
    var message = ProtocolBuffer(bytes[...], source: source)
    while let (field, value) = try message.next() {
      guard case .bytes(let bytes) = value else { continue }
      switch field {
      case 1: try file.readPiece(bytes)
      case 2: try file.readTraining(bytes)
      case 3: try file.readNormalization(bytes)
      default: break
      }
    }
    return try file.parts()
  }

  private init(source: String) { self.source = source }

  // MARK: Messages

  private mutating func readPiece(_ bytes: ArraySlice<UInt8>) throws {
    var message = ProtocolBuffer(bytes, source: source)
    var (text, score, kind) = ([UInt8](), Float(0), Kind.normal)
    while let field = try message.next() {
      switch field {
      case (1, .bytes(let bytes)): text = Array(bytes)
      case (2, .bits32(let bits)): score = Float(bitPattern: bits)
      case (3, .number(let number)):
        guard let known = Kind(rawValue: number) else {
          throw TokenizerError.unsupported(source: source, component: "a piece of type \(number)")
        }
        kind = known
      default: break
      }
    }
    guard score.isFinite, !text.isEmpty, String(validating: text, as: UTF8.self) != nil else {
      throw TokenizerError.invalidValue(
        source: source, place: "piece \(kinds.count)",
        was: "\"\(String(decoding: text, as: UTF8.self))\" with score \(score)",
        mustBe: "text with a finite score")
    }
    texts.append(text)
    scores.append(score)
    kinds.append(kind)
  }

  private mutating func readTraining(_ bytes: ArraySlice<UInt8>) throws {
    var message = ProtocolBuffer(bytes, source: source)
    while let field = try message.next() {
      switch field {
      case (3, .number(let number)): modelType = number
      case (24, .number(let number)): marksWordEnds = number != 0
      case (44, .bytes(let bytes)): unknownText = String(decoding: bytes, as: UTF8.self)
      case (35, .number(let number)): fallsBackToBytes = number != 0
      default: break
      }
    }
  }

  private mutating func readNormalization(_ bytes: ArraySlice<UInt8>) throws {
    var message = ProtocolBuffer(bytes, source: source)
    while let field = try message.next() {
      switch field {
      case (2, .bytes(let bytes)): characterMap = Array(bytes)
      case (3, .number(let number)): normalizer.addsPrefix = number != 0
      case (4, .number(let number)): normalizer.removesExtraSpaces = number != 0
      case (5, .number(let number)): normalizer.marksSpaces = number != 0
      default: break
      }
    }
  }

  // MARK: Parts

  private func numbers(of kind: Kind) -> [Int] { kinds.indices.filter { kinds[$0] == kind } }

  private func parts() throws -> TextTokenizer.Parts {
    guard !marksWordEnds else {
      throw TokenizerError.unsupported(
        source: source, component: "treat_whitespace_as_suffix")
    }
    guard let unknown = numbers(of: .unknown).first else {
      throw TokenizerError.invalidValue(
        source: source, place: "the unknown piece", was: "absent", mustBe: "there")
    }
    let vocabulary = try Vocabulary(texts, numbers: Array(0..<texts.count), source: source)
    let userDefined = numbers(of: .userDefined)
    var normalizer = normalizer
    normalizer.kept = ByteTrie(userDefined.map { Array(texts[$0]) })
    if !characterMap.isEmpty { normalizer.map = try CharacterMap(characterMap, source: source) }
    var parts = TextTokenizer.Parts(
      model: try model(vocabulary, unknown: Int32(unknown)),
      addedTokens: numbers(of: .control).map { added($0, isSpecial: true) }
        + userDefined.filter { _ in modelType == 2 }.map { added($0, isSpecial: false) },
      normalizer: .sentencePiece(normalizer))
    parts.postProcessor.prefix = control("<s>")
    parts.postProcessor.suffix = control("</s>")
    let hasPrefix = normalizer.addsPrefix || normalizer.removesExtraSpaces
    parts.decoder = [
      StripDecoder(
        character: SentencePieceNormalizer.mark, start: hasPrefix ? 1 : 0, stop: 0, isFused: true),
      ReplaceDecoder(
        splitter: .text(SentencePieceNormalizer.mark), replacement: [UInt8(ascii: " ")]),
      ByteFallbackDecoder(keepsCharacters: true),
    ]
    parts.decodedTexts[Int32(unknown)] = unknownText
    return parts
  }

  private func added(_ number: Int, isSpecial: Bool) -> AddedToken {
    AddedToken(
      token: Int32(number), text: String(decoding: texts[number], as: UTF8.self),
      isSpecial: isSpecial, search: isSpecial ? .nowhere : .normalizedTextAsWritten)
  }

  private func control(_ name: String) -> [Int32] {
    numbers(of: .control).filter { texts[$0].elementsEqual(name.utf8) }.map(Int32.init)
  }

  private func model(_ vocabulary: Vocabulary, unknown: Int32) throws -> any TokenModel {
    switch modelType {
    case 1: return unigram(vocabulary, unknown: unknown)
    case 2: return bytePairEncoding(vocabulary, unknown: unknown)
    case let type:
      throw TokenizerError.unsupported(source: source, component: "the model type \(type)")
    }
  }

  private func unigram(_ vocabulary: Vocabulary, unknown: Int32) -> Unigram {
    let ordinary = numbers(of: .normal).map { Double(scores[$0]) }
    let highest = ordinary.max() ?? 0
    var options = Unigram.Options()
    options.unknown = unknown
    options.fallsBackToBytes = fallsBackToBytes
    options.arithmetic = .single
    // So likely that nothing else is chosen, the longer the more.
    let discount = 0.1
    for number in numbers(of: .userDefined) {
      options.userScores[Int32(number)] = Double(texts[number].count) * highest - discount
    }
    for kind in [Kind.unknown, .control, .unused, .byte] {
      options.excluded.formUnion(numbers(of: kind).map(Int32.init))
    }
    return Unigram(
      vocabulary, scores: scores.map(Double.init), lowest: ordinary.min() ?? 0, options: options)
  }

  private func bytePairEncoding(_ vocabulary: Vocabulary, unknown: Int32) -> BytePairEncoding {
    var options = BytePairEncoding.Options()
    options.unknown = unknown
    options.fusesUnknown = true
    options.fallsBackToBytes = fallsBackToBytes
    // The likeliest piece is merged first; equal ones have the same rank, so that the leftmost goes first.
    var ranks: [Float: UInt32] = [:]
    for score in scores.sorted(by: >) where ranks[score] == nil {
      ranks[score] = UInt32(ranks.count)
    }
    var merges: [(left: Int32, right: Int32, merge: MergeTable.Merge)] = []
    for number in numbers(of: .normal) {
      let text = Array(texts[number])
      for cut in text.indices.dropFirst() where text[cut] & 0xC0 != 0x80 {
        guard let left = vocabulary.number(of: Array(text[..<cut])),
          let right = vocabulary.number(of: Array(text[cut...]))
        else { continue }
        merges.append(
          (left, right, .init(rank: ranks[scores[number]] ?? 0, symbol: Int32(number))))
      }
    }
    var table = MergeTable(capacity: merges.count)
    for merge in merges { table.insert(merge.left, merge.right, merge.merge) }
    return BytePairEncoding(
      vocabulary, merges: table, options: options, wordMark: SentencePieceNormalizer.mark)
  }
}
