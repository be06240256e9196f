/// Bytes as visible characters, so that any bytes make a text (GPT-2): printable characters of Latin-1 stand for
/// themselves, the others are numbered from U+0100.
enum ByteAlphabet {
  /// The character of each byte.
  static let scalars: [Unicode.Scalar] = {
    var next: UInt32 = 0x100
    return (0...255).map { (byte: UInt32) in
      switch byte {
      case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: return Unicode.Scalar(UInt8(byte))
      default:
        defer { next += 1 }
        return Unicode.Scalar(next) ?? "\u{FFFD}"
      }
    }
  }()

  /// The UTF-8 of each byte's character: the first byte and the second, or 0.
  private static let encoded: [SIMD2<UInt8>] = scalars.map { scalar in
    let bytes = Array(String(Character(scalar)).utf8)
    return SIMD2(bytes[0], bytes.count > 1 ? bytes[1] : 0)
  }

  /// The byte of each character below U+0200; −1 for those that stand for none.
  private static let bytes: [Int16] = {
    var bytes = [Int16](repeating: -1, count: 0x200)
    for (byte, scalar) in scalars.enumerated() { bytes[Int(scalar.value)] = Int16(byte) }
    return bytes
  }()

  @inline(__always)
  static func append(_ byte: UInt8, to text: inout [UInt8]) {
    let pair = encoded[Int(byte)]
    text.append(pair.x)
    if pair.y != 0 { text.append(pair.y) }
  }

  /// The bytes that `text` stands for; nil if a character stands for none.
  static func bytes(of text: some Collection<UInt8>) -> [UInt8]? {
    var result: [UInt8] = []
    result.reserveCapacity(text.count)
    var pending: UInt32 = 0
    for byte in text {
      let scalar: UInt32
      switch byte {
      case ..<0x80: scalar = UInt32(byte)
      case 0xC2...0xC7:
        pending = UInt32(byte & 0x1F) << 6
        continue
      case 0x80...0xBF where pending != 0: scalar = pending | UInt32(byte & 0x3F)
      default: return nil
      }
      pending = 0
      guard bytes[Int(scalar)] >= 0 else { return nil }
      result.append(UInt8(bytes[Int(scalar)]))
    }
    return pending == 0 ? result : nil
  }
}
