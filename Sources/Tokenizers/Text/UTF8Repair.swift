/// Makes valid UTF-8 of bytes as they arrive: whole characters, with U+FFFD for each maximal part that is none
/// (the practice that the Unicode standard recommends, section 3.9).
struct UTF8Repair: Sendable {
  /// U+FFFD in UTF-8.
  static let replacement: [UInt8] = [0xEF, 0xBF, 0xBD]

  /// The beginning of a character, at most three bytes.
  private var pending: [UInt8] = []
  /// How many bytes the pending character has in all.
  private var length = 0
  /// What its next byte may be.
  private var continuation: ClosedRange<UInt8> = 0x80...0xBF

  /// Appends the characters that `bytes` complete to `text`.
  mutating func append(_ bytes: some Sequence<UInt8>, to text: inout [UInt8]) {
    for byte in bytes {
      if !pending.isEmpty {
        if continuation.contains(byte) {
          pending.append(byte)
          continuation = 0x80...0xBF
          if pending.count == length {
            text += pending
            pending.removeAll(keepingCapacity: true)
          }
          continue
        }
        // A byte that does not continue the character may begin the next.
        finish(into: &text)
      }
      begin(byte, &text)
    }
  }

  /// Appends U+FFFD to `text` if a character is unfinished.
  mutating func finish(into text: inout [UInt8]) {
    guard !pending.isEmpty else { return }
    text += Self.replacement
    pending.removeAll(keepingCapacity: true)
  }

  private mutating func begin(_ byte: UInt8, _ text: inout [UInt8]) {
    switch byte {
    case ..<0x80: return text.append(byte)
    case 0xC2...0xDF: length = 2
    case 0xE0...0xEF: length = 3
    case 0xF0...0xF4: length = 4
    default: return text += Self.replacement
    }
    pending.append(byte)
    // The second byte also rules out overlong forms, surrogates and values above U+10FFFF.
    continuation =
      switch byte {
      case 0xE0: 0xA0...0xBF
      case 0xED: 0x80...0x9F
      case 0xF0: 0x90...0xBF
      case 0xF4: 0x80...0x8F
      default: 0x80...0xBF
      }
  }
}
