import AttentionLanguageModels
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

  mutating func combine(_ tokens: TokenArray) {
    switch tokens {
    case .bytes(let bytes): combine(bytes)
    case .numbers(let numbers): for number in numbers { combine(Int(number)) }
    }
  }

  mutating func combine(_ number: Int) {
    withUnsafeBytes(of: UInt64(bitPattern: Int64(number)).littleEndian) { combine(Array($0)) }
  }
}

/// Packed sequences, independent of each other.
public struct Batch: Sendable {
  /// The model's input tokens, int32 `[1, tokens]`.
  public let inputs: Tensor
  /// The next token of each, int32 `[1, tokens]`.
  public let targets: Tensor
  /// Cumulative lengths of the sequences in ``inputs``: int32 `[sequences + 1]`.
  public let cumulativeLengths: Tensor

  public var tokenCount: Int { inputs.elementCount }

  /// - Throws: `TensorError.outOfMemory(requestedBytes:heldBytes:)` if memory is exhausted.
  init(_ text: PackedText, pieces: [PairSequence.Piece]) throws {
    let count = pieces.reduce(0) { $0 + $1.count }
    /// The tokens `distance` after those of the pieces.
    func tokens(_ distance: Int) throws -> Tensor {
      try Tensor.filling([1, count], as: Int32.self) { target in
        var place = 0
        for piece in pieces {
          let start = piece.start + distance
          text.tokens.copy(start..<start + piece.count, to: target, at: place)
          place += piece.count
        }
      }
    }
    var lengths: [Int32] = [0]
    for piece in pieces { lengths.append(lengths[lengths.count - 1] + Int32(piece.count)) }
    inputs = try tokens(0)
    targets = try tokens(1)
    cumulativeLengths = try Tensor(lengths)
  }
}
