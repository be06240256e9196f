/// Finds which of many texts begins at a place.
struct ByteTrie: Sendable {
  /// The texts that begin with each byte lie below one of these nodes.
  private var roots = [Int32](repeating: -1, count: 256)
  /// By node and next byte.
  private var children: [UInt64: Int32] = [:]
  /// The index of the text that ends at a node; −1 for none.
  private var ends: [Int32] = []

  /// - Parameter texts: none empty; of equal ones the last counts.
  init(_ texts: [[UInt8]]) {
    for (index, text) in texts.enumerated() {
      guard let first = text.first else { continue }
      if roots[Int(first)] < 0 { roots[Int(first)] = makeNode() }
      var node = roots[Int(first)]
      for byte in text.dropFirst() {
        let key = Self.key(node, byte)
        let child = children[key] ?? makeNode()
        children[key] = child
        node = child
      }
      ends[Int(node)] = Int32(index)
    }
  }

  private mutating func makeNode() -> Int32 {
    ends.append(-1)
    return Int32(ends.count - 1)
  }

  private static func key(_ node: Int32, _ byte: UInt8) -> UInt64 { UInt64(node) << 8 | UInt64(byte) }

  var isEmpty: Bool { ends.isEmpty }

  /// The longest text that begins at `offset`: its index and length.
  func longestMatch(
    in text: UnsafeBufferPointer<UInt8>, at offset: Int
  ) -> (index: Int, length: Int)? {
    var node = roots[Int(text[offset])]
    var best: (index: Int, length: Int)?
    var end = offset + 1
    while node >= 0 {
      if ends[Int(node)] >= 0 { best = (Int(ends[Int(node)]), end - offset) }
      guard end < text.count, let child = children[Self.key(node, text[end])] else { break }
      node = child
      end += 1
    }
    return best
  }

  /// The first place at or after `offset` where a text begins, and the longest one there.
  func firstMatch(
    in text: [UInt8], from offset: Int
  ) -> (place: Int, index: Int, length: Int)? {
    guard !isEmpty else { return nil }
    return text.withUnsafeBufferPointer { text in
      roots.withUnsafeBufferPointer { roots in
        for place in offset..<max(offset, text.count) where roots[Int(text[place])] >= 0 {
          if let (index, length) = longestMatch(in: text, at: place) { return (place, index, length) }
        }
        return nil
      }
    }
  }
}
