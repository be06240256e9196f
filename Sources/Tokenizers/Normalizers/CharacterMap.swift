/// SentencePiece's compiled table of replacements: a double-array trie (Aoe 1989) over UTF-8, whose values are places
/// in a list of texts that end in a zero byte.
struct CharacterMap: Sendable {
  private let units: [UInt32]
  private let texts: [UInt8]

  /// - Parameters:
  ///   - bytes: the size of the trie in bytes, 32 bits little-endian; the trie; the texts.
  ///   - source: what errors call the file.
  /// - Throws: ``TokenizerError/invalidValue(source:place:was:mustBe:)``.
  init(_ bytes: [UInt8], source: String) throws {
    let word = { (offset: Int) in
      (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[offset + $1]) << UInt32(8 * $1) }
    }
    let size = bytes.count >= 4 ? Int(word(0)) : -1
    guard size >= 4, size % 4 == 0, size <= bytes.count - 4 else {
      throw TokenizerError.invalidValue(
        source: source, place: "the size of precompiled_charsmap", was: "\(size)",
        mustBe: "a multiple of 4 within its \(bytes.count) bytes")
    }
    units = stride(from: 4, to: 4 + size, by: 4).map(word)
    texts = Array(bytes[(4 + size)...])
  }

  /// The longest replaced text that begins at `offset`, and what replaces it.
  ///
  /// - Parameter isShortest: the first text found instead, which Hugging Face's reader takes.
  func match(
    in text: UnsafeBufferPointer<UInt8>, at offset: Int, end: Int, isShortest: Bool = false
  ) -> (length: Int, replacement: ArraySlice<UInt8>)? {
    var node = 0
    var value: Int?
    var length = 0
    node ^= Self.offset(units[0])
    for place in offset..<end {
      let byte = text[place]
      if byte == 0 { break }
      node ^= Int(byte)
      guard units.indices.contains(node) else { break }
      let unit = units[node]
      // The label of a unit is its byte; leaves have the highest bit set.
      guard unit & 0x8000_00FF == UInt32(byte) else { break }
      node ^= Self.offset(unit)
      guard units.indices.contains(node) else { break }
      if unit >> 8 & 1 == 1 {
        value = Int(units[node] & 0x7FFF_FFFF)
        length = place + 1 - offset
        if isShortest { break }
      }
    }
    guard let value, value <= texts.count else { return nil }
    let rest = texts[value...]
    return (length, rest[..<(rest.firstIndex(of: 0) ?? rest.endIndex)])
  }

  /// Whether a replaced text begins with `byte`.
  func mayBegin(with byte: UInt8) -> Bool {
    let node = Self.offset(units[0]) ^ Int(byte)
    return byte != 0 && units.indices.contains(node)
      && units[node] & 0x8000_00FF == UInt32(byte)
  }

  private static func offset(_ unit: UInt32) -> Int { Int((unit >> 10) << ((unit & 1 << 9) >> 6)) }

  /// `text` as Hugging Face's `Precompiled` replaces it: each short character with its marks if there is a
  /// replacement of all of it or of its beginning, otherwise scalar by scalar.
  func normalizedByClusters(_ text: [UInt8]) -> [UInt8] {
    let longest = 6
    var result: [UInt8] = []
    result.reserveCapacity(text.count)
    for character in String(decoding: text, as: UTF8.self) {
      let bytes = Array(character.utf8)
      bytes.withUnsafeBufferPointer { bytes in
        if bytes.count < longest,
          let (_, replacement) = match(in: bytes, at: 0, end: bytes.count, isShortest: true)
        {
          result += replacement
          return
        }
        var start = 0
        while start < bytes.count {
          let end = start + bytes.lengthOfScalar(at: start)
          if let (_, replacement) = match(in: bytes, at: start, end: end, isShortest: true) {
            result += replacement
          } else {
            result += bytes[start..<end]
          }
          start = end
        }
      }
    }
    return result
  }
}
