/// The normalisation forms of the Unicode standard, annex 15, of its version in ``UnicodeTables``.
enum NormalizationForm: String, CaseIterable, Sendable {
  case nfc = "NFC"
  case nfd = "NFD"
  case nfkc = "NFKC"
  case nfkd = "NFKD"

  private var isCompatible: Bool { self == .nfkc || self == .nfkd }
  private var composes: Bool { self == .nfc || self == .nfkc }

  /// `text`, valid UTF-8, in this form.
  func normalized(_ text: [UInt8]) -> [UInt8] {
    // ASCII is in every form.
    let plain: UInt8 = 0x80
    guard let first = text.firstIndex(where: { $0 >= plain }) else { return text }
    let data = NormalizationData.shared
    // The character before may be composed with what follows.
    var start = max(0, first - 1)
    var result = Array(text[..<start])
    result.reserveCapacity(text.count + 16)
    var scalars: [UInt32] = []
    text.withUnsafeBufferPointer { text in
      while start < text.count {
        // A part that ends before an ASCII character stands alone: these neither decompose nor combine with what is
        // before them.
        var plainEnd = start
        while plainEnd < text.count, text[plainEnd] < plain { plainEnd += 1 }
        if plainEnd > start + 1 {
          result += text[start..<plainEnd - 1]
          start = plainEnd - 1
        }
        scalars.removeAll(keepingCapacity: true)
        var isFirst = true
        while start < text.count, isFirst || text[start] >= plain {
          let length = text.lengthOfScalar(at: start)
          data.appendDecomposition(
            of: text.scalar(at: start, length: length), isCompatible: isCompatible, to: &scalars)
          start += length
          isFirst = false
        }
        data.sortMarks(&scalars)
        if composes { data.compose(&scalars) }
        for scalar in scalars { result.append(scalar: scalar) }
      }
    }
    return result
  }
}

extension [UInt8] {
  /// Appends a scalar in UTF-8.
  @inline(__always)
  mutating func append(scalar: UInt32) {
    switch scalar {
    case ..<0x80: append(UInt8(scalar))
    case ..<0x800:
      append(UInt8(0xC0 | scalar >> 6))
      append(UInt8(0x80 | scalar & 0x3F))
    case ..<0x10000:
      append(UInt8(0xE0 | scalar >> 12))
      append(UInt8(0x80 | scalar >> 6 & 0x3F))
      append(UInt8(0x80 | scalar & 0x3F))
    default:
      append(UInt8(0xF0 | scalar >> 18))
      append(UInt8(0x80 | scalar >> 12 & 0x3F))
      append(UInt8(0x80 | scalar >> 6 & 0x3F))
      append(UInt8(0x80 | scalar & 0x3F))
    }
  }
}
