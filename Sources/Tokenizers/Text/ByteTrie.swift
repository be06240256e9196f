/// Finds which of many texts begin at a place.
struct ByteTrie: Sendable {
  /// A child by its parent and the byte that leads to it; parents are never −1 here.
  private struct Slot: Sendable {
    var key: UInt64
    var child: Int32
  }

  private static let free = UInt64.max

  /// The node below which the texts lie that begin with each byte; −1 for none.
  private var roots = [Int32](repeating: -1, count: 256)
  /// The other nodes by hash, with linear probing.
  private var slots = [Slot](repeating: Slot(key: free, child: -1), count: 16)
  private var used = 0
  /// The index of the text that ends at a node; −1 for none.
  private var ends: [Int32] = []

  init() {}

  /// - Parameter texts: none empty; of equal ones the last counts.
  init(_ texts: some Sequence<[UInt8]>) {
    for (index, text) in texts.enumerated() { insert(text, index: Int32(index)) }
  }

  /// Adds a text, which is not empty.
  mutating func insert(_ text: some Collection<UInt8>, index: Int32) {
    guard let first = text.first else { return }
    if roots[Int(first)] < 0 { roots[Int(first)] = makeNode() }
    var node = roots[Int(first)]
    for byte in text.dropFirst() {
      let child = child(of: node, byte)
      node = child >= 0 ? child : insertChild(of: node, byte)
    }
    ends[Int(node)] = index
  }

  private mutating func makeNode() -> Int32 {
    ends.append(-1)
    return Int32(ends.count - 1)
  }

  private mutating func insertChild(of node: Int32, _ byte: UInt8) -> Int32 {
    if used * 2 >= slots.count { grow() }
    let child = makeNode()
    place(Slot(key: Self.key(node, byte), child: child))
    used += 1
    return child
  }

  private mutating func grow() {
    let old = slots
    slots = [Slot](repeating: Slot(key: Self.free, child: -1), count: old.count * 2)
    for slot in old where slot.key != Self.free { place(slot) }
  }

  private mutating func place(_ slot: Slot) {
    var place = Int(truncatingIfNeeded: ByteHash.mix(slot.key)) & (slots.count - 1)
    while slots[place].key != Self.free { place = (place + 1) & (slots.count - 1) }
    slots[place] = slot
  }

  @inline(__always)
  private static func key(_ node: Int32, _ byte: UInt8) -> UInt64 {
    UInt64(node) << 8 | UInt64(byte)
  }

  /// The node that `byte` leads to; −1 if there is none.
  @inline(__always)
  private func child(of node: Int32, _ byte: UInt8) -> Int32 {
    let key = Self.key(node, byte)
    return slots.withUnsafeBufferPointer { slots in
      var place = Int(truncatingIfNeeded: ByteHash.mix(key)) & (slots.count &- 1)
      while true {
        let slot = slots[place]
        if slot.key == key { return slot.child }
        if slot.key == Self.free { return -1 }
        place = (place &+ 1) & (slots.count &- 1)
      }
    }
  }

  var isEmpty: Bool { ends.isEmpty }

  /// Whether a text begins with `byte`.
  func mayBegin(with byte: UInt8) -> Bool { roots[Int(byte)] >= 0 }

  /// Calls `body` with the index and the end of each text that begins at `offset`, from the shortest to the longest.
  @inline(__always)
  func forEachMatch(
    in text: UnsafeBufferPointer<UInt8>, at offset: Int, _ body: (_ index: Int, _ end: Int) -> Void
  ) {
    var node = roots[Int(text[offset])]
    var end = offset + 1
    while node >= 0 {
      if ends[Int(node)] >= 0 { body(Int(ends[Int(node)]), end) }
      guard end < text.count else { return }
      node = child(of: node, text[end])
      end += 1
    }
  }

  /// The longest text that begins at `offset`.
  func longestMatch(
    in text: UnsafeBufferPointer<UInt8>, at offset: Int
  ) -> (index: Int, end: Int)? {
    var best: (index: Int, end: Int)?
    forEachMatch(in: text, at: offset) { best = ($0, $1) }
    return best
  }

  /// The first place at or after `offset` where a text begins, and the longest one there.
  func firstMatch(in text: [UInt8], from offset: Int) -> (place: Int, index: Int, end: Int)? {
    guard !isEmpty else { return nil }
    return text.withUnsafeBufferPointer { text in
      roots.withUnsafeBufferPointer { roots in
        for place in offset..<max(offset, text.count) where roots[Int(text[place])] >= 0 {
          if let (index, end) = longestMatch(in: text, at: place) { return (place, index, end) }
        }
        return nil
      }
    }
  }
}
