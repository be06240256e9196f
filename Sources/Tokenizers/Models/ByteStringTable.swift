/// Many short texts, one behind the other.
struct ByteStrings: Sendable {
  private(set) var bytes: [UInt8] = []
  private(set) var ends: [UInt32] = []

  init() {}

  init(_ strings: some Sequence<[UInt8]>) { for string in strings { append(string) } }

  var count: Int { ends.count }

  mutating func append(_ string: some Collection<UInt8>) {
    bytes += string
    ends.append(UInt32(bytes.count))
  }

  func range(_ index: Int) -> Range<Int> {
    (index == 0 ? 0 : Int(ends[index - 1]))..<Int(ends[index])
  }

  subscript(index: Int) -> ArraySlice<UInt8> { bytes[range(index)] }

  /// A text in quotes, for messages.
  func text(_ index: Int) -> String { "\"\(String(decoding: self[index], as: UTF8.self))\"" }
}

/// A hash table of texts with a number each.
struct ByteStringTable: Sendable {
  /// A text that is there twice.
  struct Duplicate: Error {
    let entry: Int
  }

  let strings: ByteStrings
  private let values: [Int32]
  /// Entries by hash, with linear probing; −1 is free.
  private let slots: [Int32]

  /// A table of `strings` with the number of each, none negative.
  static func make(_ strings: ByteStrings, values: [Int32]) -> Result<ByteStringTable, Duplicate> {
    var capacity = 16
    while capacity < strings.count * 2 { capacity *= 2 }
    var slots = [Int32](repeating: -1, count: capacity)
    let duplicate: Int? = strings.bytes.withUnsafeBufferPointer { bytes in
      for entry in 0..<strings.count {
        let text = UnsafeBufferPointer(rebasing: bytes[strings.range(entry)])
        var slot = Int(truncatingIfNeeded: ByteHash.hash(text)) & (capacity - 1)
        while slots[slot] >= 0 {
          let other = UnsafeBufferPointer(rebasing: bytes[strings.range(Int(slots[slot]))])
          if ByteHash.areEqual(text, other) { return entry }
          slot = (slot + 1) & (capacity - 1)
        }
        slots[slot] = Int32(entry)
      }
      return nil
    }
    if let duplicate { return .failure(Duplicate(entry: duplicate)) }
    return .success(ByteStringTable(strings: strings, values: values, slots: slots))
  }

  /// The number of `text`; −1 if it is not in the table.
  func value(of text: UnsafeBufferPointer<UInt8>) -> Int32 {
    strings.bytes.withUnsafeBufferPointer { bytes in
      var slot = Int(truncatingIfNeeded: ByteHash.hash(text)) & (slots.count - 1)
      while true {
        let entry = slots[slot]
        if entry < 0 { return -1 }
        let other = UnsafeBufferPointer(rebasing: bytes[strings.range(Int(entry))])
        if ByteHash.areEqual(text, other) { return values[Int(entry)] }
        slot = (slot + 1) & (slots.count - 1)
      }
    }
  }
}
