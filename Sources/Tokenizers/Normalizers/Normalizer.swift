/// Rewrites text before it is cut into pieces.
enum Normalizer: Sendable {
  case form(NormalizationForm)
  case lowercase
  case strip(left: Bool, right: Bool)
  /// Removes all marks.
  case stripAccents
  case replace(Splitter, with: [UInt8])
  /// Before a text that is not empty.
  case prepend([UInt8])
  case bert(BertNormalizer)
  case byteLevel
  /// What neural machine translation leaves out: control characters, and unusual spaces become plain ones.
  case nmt
  case precompiled(CharacterMap)
  case sentencePiece(SentencePieceNormalizer)
  case sequence([Normalizer])

  func apply(_ text: inout [UInt8]) throws(TokenizerError) {
    switch self {
    case .form(let form): text = form.normalized(text)
    case .lowercase: text = Self.lowercased(text)
    case .strip(let left, let right): Self.strip(&text, left: left, right: right)
    case .stripAccents: text = Self.removing(Self.marks, from: text)
    case .replace(let splitter, let replacement):
      text = try Self.replacing(splitter, in: text, with: replacement)
    case .prepend(let prefix): if !text.isEmpty { text = prefix + text }
    case .bert(let normalizer): normalizer.apply(&text)
    case .byteLevel:
      var result: [UInt8] = []
      for byte in text { ByteAlphabet.append(byte, to: &result) }
      text = result
    case .nmt: text = Self.cleaned(text)
    case .precompiled(let map): text = map.normalizedByClusters(text)
    case .sentencePiece(let normalizer): normalizer.apply(&text)
    case .sequence(let steps): for step in steps { try step.apply(&text) }
    }
  }

  // MARK: Steps

  static let marks = ScalarTable(.marks)
  private static let whitespace = ScalarTable(.whitespace)

  /// `text` with each scalar replaced by what `body` appends for it.
  static func mapped(
    _ text: [UInt8], _ body: (UInt32, _ result: inout [UInt8]) -> Void
  ) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(text.count)
    text.withUnsafeBufferPointer { text in
      var start = 0
      while start < text.count {
        let length = text.lengthOfScalar(at: start)
        body(text.scalar(at: start, length: length), &result)
        start += length
      }
    }
    return result
  }

  static func lowercased(_ text: [UInt8]) -> [UInt8] {
    let mappings = CaseFolding.lowercase
    return mapped(text) { scalar, result in
      switch scalar {
      case 0x41...0x5A: result.append(UInt8(scalar + 0x20))
      case ..<0x80: result.append(UInt8(scalar))
      default:
        if let mapping = mappings[scalar] {
          for scalar in mapping { result.append(scalar: scalar) }
        } else {
          result.append(scalar: scalar)
        }
      }
    }
  }

  static func removing(_ table: ScalarTable, from text: [UInt8]) -> [UInt8] {
    mapped(text) { scalar, result in
      if !table.contains(scalar) { result.append(scalar: scalar) }
    }
  }

  private static func strip(_ text: inout [UInt8], left: Bool, right: Bool) {
    text = text.withUnsafeBufferPointer { text in
      var (start, end) = (0, text.count)
      while left, start < end {
        let length = text.lengthOfScalar(at: start)
        guard whitespace.contains(text.scalar(at: start, length: length)) else { break }
        start += length
      }
      while right, start < end {
        let before = text.startOfScalar(before: end)
        guard whitespace.contains(text.scalar(at: before, length: end - before)) else { break }
        end = before
      }
      return Array(text[start..<end])
    }
  }

  private static func replacing(
    _ splitter: Splitter, in text: [UInt8], with replacement: [UInt8]
  ) throws(TokenizerError) -> [UInt8] {
    var bounds: [UInt32] = []
    var failure: TokenizerError?
    text.withUnsafeBufferPointer { text in
      do throws(TokenizerError) { try splitter.appendMatches(in: text, to: &bounds) } catch {
        failure = error
      }
    }
    if let failure { throw failure }
    guard !bounds.isEmpty else { return text }
    var result: [UInt8] = []
    result.reserveCapacity(text.count)
    var done = 0
    for i in stride(from: 0, to: bounds.count, by: 2) {
      result += text[done..<Int(bounds[i])]
      result += replacement
      done = Int(bounds[i + 1])
    }
    result += text[done...]
    return result
  }

  private static let removedByNMT = ScalarTable(
    ScalarSet([0x01...0x08, 0x0B...0x0B, 0x0E...0x1F, 0x7F...0x7F, 0x8F...0x8F, 0x9F...0x9F]))
  private static let spacesOfNMT = ScalarTable(
    ScalarSet([
      0x09...0x0A, 0x0C...0x0D, 0x1680...0x1680, 0x200B...0x200F, 0x2028...0x2029,
      0x2581...0x2581, 0xFEFF...0xFEFF, 0xFFFD...0xFFFD,
    ]))

  private static func cleaned(_ text: [UInt8]) -> [UInt8] {
    mapped(text) { scalar, result in
      if removedByNMT.contains(scalar) { return }
      result.append(scalar: spacesOfNMT.contains(scalar) ? 0x20 : scalar)
    }
  }
}
