/// The merges of a byte pair encoding: for two neighbouring symbols, which one they become and how early.
struct MergeTable: Sendable {
  /// A merge; the lowest rank goes first.
  struct Merge: Sendable {
    let rank: UInt32
    let symbol: Int32

    /// Stands for symbols that do not merge.
    static let none = Merge(rank: .max, symbol: -1)
  }

  private struct Slot: Sendable {
    var pair: UInt64
    var merge: Merge
  }

  private static let free = UInt64.max
  private var slots: [Slot]

  init(capacity: Int) {
    var size = 16
    while size < capacity * 2 { size *= 2 }
    slots = Array(repeating: Slot(pair: Self.free, merge: .none), count: size)
  }

  @inline(__always)
  private static func pair(_ left: Int32, _ right: Int32) -> UInt64 {
    UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
  }

  /// Adds a merge, in place of one of the same symbols. There must be room: `capacity` merges.
  mutating func insert(_ left: Int32, _ right: Int32, _ merge: Merge) {
    let pair = Self.pair(left, right)
    var slot = Int(truncatingIfNeeded: ByteHash.mix(pair)) & (slots.count - 1)
    while slots[slot].pair != Self.free, slots[slot].pair != pair {
      slot = (slot + 1) & (slots.count - 1)
    }
    slots[slot] = Slot(pair: pair, merge: merge)
  }

  /// The merge of two symbols.
  @inline(__always)
  func merge(_ left: Int32, _ right: Int32) -> Merge {
    let pair = Self.pair(left, right)
    return slots.withUnsafeBufferPointer { slots in
      var slot = Int(truncatingIfNeeded: ByteHash.mix(pair)) & (slots.count &- 1)
      while true {
        let found = slots[slot]
        if found.pair == pair { return found.merge }
        if found.pair == Self.free { return .none }
        slot = (slot &+ 1) & (slots.count &- 1)
      }
    }
  }
}
