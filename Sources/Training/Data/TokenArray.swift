/// Tokens in as few bytes as they need: one each if they are bytes of text, otherwise four.
enum TokenArray: Hashable, Sendable {
  case bytes([UInt8])
  case numbers([Int32])

  var count: Int {
    switch self {
    case .bytes(let bytes): bytes.count
    case .numbers(let numbers): numbers.count
    }
  }

  /// Writes the tokens of `range` to `target` from `place` on, which must have room for them.
  func copy(_ range: Range<Int>, to target: UnsafeMutablePointer<Int32>, at place: Int) {
    switch self {
    case .bytes(let bytes):
      for (index, byte) in bytes[range].enumerated() { target[place + index] = Int32(byte) }
    case .numbers(let numbers):
      for (index, number) in numbers[range].enumerated() { target[place + index] = number }
    }
  }
}
