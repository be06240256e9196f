/// Counts pieces of text.
struct PieceCounter {
  private(set) var pieces = ByteStrings()
  private(set) var counts: [Int] = []
  /// Pieces by hash, with linear probing; −1 is free.
  private var slots = [Int32](repeating: -1, count: 1 << 16)

  /// The most bytes of different pieces.
  static let mostBytes = 1 << 31

  /// Counts one more occurrence of `piece`.
  mutating func add(_ piece: UnsafeBufferPointer<UInt8>) throws(TokenizerError) {
    if pieces.count * 2 >= slots.count { grow() }
    var slot = Int(truncatingIfNeeded: ByteHash.hash(piece)) & (slots.count - 1)
    while slots[slot] >= 0 {
      let entry = Int(slots[slot])
      let isEqual = pieces.bytes.withUnsafeBufferPointer {
        ByteHash.areEqual(piece, UnsafeBufferPointer(rebasing: $0[pieces.range(entry)]))
      }
      if isEqual {
        counts[entry] += 1
        return
      }
      slot = (slot + 1) & (slots.count - 1)
    }
    guard pieces.bytes.count + piece.count < Self.mostBytes else {
      throw TokenizerError.invalidArgument(
        "text", was: "of more than \(Self.mostBytes) bytes of different words", mustBe: "smaller")
    }
    slots[slot] = Int32(pieces.count)
    pieces.append(piece)
    counts.append(1)
  }

  private mutating func grow() {
    slots = [Int32](repeating: -1, count: slots.count * 2)
    pieces.bytes.withUnsafeBufferPointer { bytes in
      for entry in 0..<pieces.count {
        let piece = UnsafeBufferPointer(rebasing: bytes[pieces.range(entry)])
        var slot = Int(truncatingIfNeeded: ByteHash.hash(piece)) & (slots.count - 1)
        while slots[slot] >= 0 { slot = (slot + 1) & (slots.count - 1) }
        slots[slot] = Int32(entry)
      }
    }
  }
}
