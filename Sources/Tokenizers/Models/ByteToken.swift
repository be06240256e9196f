/// Tokens for single bytes of characters that a vocabulary does not have.
enum ByteToken {
  /// The text of a byte's token: `<0x0A>`.
  static func name(_ byte: UInt8) -> String {
    let digits = String(byte, radix: 16, uppercase: true)
    return "<0x\(digits.count < 2 ? "0" : "")\(digits)>"
  }

  /// The byte that a token such as `<0x0A>` stands for.
  static func byte(_ text: some Collection<UInt8>) -> UInt8? {
    let length = 6
    guard text.count == length, text.starts(with: "<0x".utf8),
      text.suffix(1).elementsEqual(">".utf8)
    else { return nil }
    let digits = text.dropFirst(3).prefix(2)
    guard digits.first != UInt8(ascii: "+") else { return nil }
    return UInt8(String(decoding: digits, as: UTF8.self), radix: 16)
  }
}
