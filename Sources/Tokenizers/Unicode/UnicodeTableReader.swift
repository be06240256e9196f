/// Reads the numbers of ``UnicodeTables``.
struct UnicodeTableReader {
  private let bytes: UnsafeBufferPointer<UInt8>
  private var offset = 0

  /// A table is a constant of the program, so that its text lives as long.
  init(_ table: StaticString) {
    bytes = UnsafeBufferPointer(start: table.utf8Start, count: table.utf8CodeUnitCount)
  }

  /// The next number; nil at the end.
  mutating func next() -> Int? {
    var number = 0
    var place = 0
    while offset < bytes.count {
      let digit = Self.digit(bytes[offset])
      offset += 1
      number |= (digit & 31) << place
      if digit < 32 { return number }
      place += 5
    }
    return nil
  }

  /// The place of a character in `A`…`Z`, `a`…`z`, `0`…`9`, `+`, `/`.
  private static func digit(_ character: UInt8) -> Int {
    switch character {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"): Int(character - UInt8(ascii: "A"))
    case UInt8(ascii: "a")...UInt8(ascii: "z"): Int(character - UInt8(ascii: "a")) + 26
    case UInt8(ascii: "0")...UInt8(ascii: "9"): Int(character - UInt8(ascii: "0")) + 52
    case UInt8(ascii: "+"): 62
    default: 63
    }
  }

  /// Calls `body` with the scalars and the value of each run of a table of runs.
  static func runs(of table: StaticString, _ body: (ClosedRange<UInt32>, Int) -> Void) {
    var reader = UnicodeTableReader(table)
    var start = 0
    while let length = reader.next(), let value = reader.next() {
      body(UInt32(start)...UInt32(start + length - 1), value)
      start += length
    }
  }

  /// The words of a table of words.
  static func words(of table: StaticString) -> [String] {
    table.description.split(separator: " ").map(String.init)
  }
}
