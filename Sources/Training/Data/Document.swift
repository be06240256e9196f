import AttentionTensors

/// A text that the model sees independently of others.
public struct Document: Hashable, Sendable {
  /// The file's path, as it was found.
  public let name: String
  /// The text, usually UTF-8; any bytes are accepted.
  public let bytes: [UInt8]

  public init(name: String, bytes: [UInt8]) {
    self.name = name
    self.bytes = bytes
  }

  /// A hash of the text alone, every bit of which depends on every byte.
  var contentHash: UInt64 {
    var hash = FNV1a()
    hash.combine(bytes)
    var mixed = Philox(seed: hash.value)
    return mixed.next()
  }
}

/// The 64-bit FNV-1a hash: the same on every machine and in every run.
struct FNV1a {
  private static let offsetBasis: UInt64 = 0xCBF2_9CE4_8422_2325
  private static let prime: UInt64 = 0x0000_0100_0000_01B3

  private(set) var value = FNV1a.offsetBasis

  mutating func combine(_ bytes: [UInt8]) {
    var hash = value
    bytes.withUnsafeBufferPointer { buffer in
      for byte in buffer { hash = (hash ^ UInt64(byte)) &* FNV1a.prime }
    }
    value = hash
  }

  mutating func combine(_ number: Int) {
    withUnsafeBytes(of: UInt64(bitPattern: Int64(number)).littleEndian) { combine(Array($0)) }
  }
}
