extension ScalarSet {
  /// Which scalars that begin with a byte of UTF-8 are members.
  enum Membership: UInt8 {
    case none, all, some
  }

  /// For each of 256 bytes, which scalars that begin with it are members; none for bytes that begin none.
  var firstBytes: [Membership] {
    var result = [Membership](repeating: .none, count: 256)
    var next = 0
    for (byte, scalars) in Self.scalarsByFirstByte {
      while next < ranges.count, ranges[next].upperBound < scalars.lowerBound { next += 1 }
      guard next < ranges.count, ranges[next].lowerBound <= scalars.upperBound else { continue }
      let isWhole =
        ranges[next].lowerBound <= scalars.lowerBound
        && ranges[next].upperBound >= scalars.upperBound
      result[byte] = isWhole ? .all : .some
    }
    return result
  }

  /// The bytes that begin a scalar in UTF-8, and those scalars, in order. Surrogates count to those of their byte.
  private static let scalarsByFirstByte: [(byte: Int, scalars: ClosedRange<UInt32>)] = {
    var result: [(byte: Int, scalars: ClosedRange<UInt32>)] = []
    for byte in UInt32(0)..<0x80 { result.append((Int(byte), byte...byte)) }
    for byte in UInt32(0xC2)...0xDF {
      result.append((Int(byte), (byte & 0x1F) << 6...(byte & 0x1F) << 6 | 0x3F))
    }
    for byte in UInt32(0xE0)...0xEF {
      let start = (byte & 0xF) << 12
      result.append((Int(byte), max(start, 0x800)...start | 0xFFF))
    }
    for byte in UInt32(0xF0)...0xF4 {
      let start = (byte & 7) << 18
      result.append((Int(byte), max(start, 0x10000)...min(start | 0x3FFFF, 0x10FFFF)))
    }
    return result
  }()
}
