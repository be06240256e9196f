/// Reads the fields of a message of Protocol Buffers.
struct ProtocolBuffer {
  /// The value of a field, by its form in the file.
  enum Value {
    case number(UInt64)
    case bits32(UInt32)
    case bits64
    case bytes(ArraySlice<UInt8>)
  }

  private var rest: ArraySlice<UInt8>
  private let source: String

  init(_ bytes: ArraySlice<UInt8>, source: String) {
    rest = bytes
    self.source = source
  }

  private func failure(_ reason: String) -> TokenizerError {
    .syntax(
      source: source, reason: "not a SentencePiece model: \(reason), at byte \(rest.startIndex)")
  }

  /// The next field; nil at the end.
  ///
  /// - Throws: ``TokenizerError/syntax(source:reason:)``.
  mutating func next() throws -> (field: Int, value: Value)? {
    guard !rest.isEmpty else { return nil }
    let key = try number()
    let field = Int(truncatingIfNeeded: key >> 3)
    switch key & 7 {
    case 0: return (field, .number(try number()))
    case 1:
      _ = try take(8)
      return (field, .bits64)
    case 2:
      let length = try number()
      guard length <= UInt64(rest.count) else { throw failure("a field is longer than the file") }
      return (field, .bytes(try take(Int(length))))
    case 5:
      let bytes = try take(4)
      return (field, .bits32(bytes.reversed().reduce(0) { $0 << 8 | UInt32($1) }))
    default: throw failure("a field has an unknown form")
    }
  }

  private mutating func take(_ count: Int) throws -> ArraySlice<UInt8> {
    guard count <= rest.count else { throw failure("the file ends too early") }
    defer { rest = rest.dropFirst(count) }
    return rest.prefix(count)
  }

  private mutating func number() throws -> UInt64 {
    var value: UInt64 = 0
    for place in 0..<10 {
      guard let byte = rest.popFirst() else { throw failure("the file ends too early") }
      value |= UInt64(byte & 0x7F) << UInt64(7 * place)
      if byte < 0x80 { return value }
    }
    throw failure("a number is too long")
  }
}
