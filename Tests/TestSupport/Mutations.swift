import AttentionCLibrary
import AttentionTensors

/// Damaged copies of valid inputs, for tests that every input gives a value or an error, never a trap. The copies
/// are the same in every run; `ATTENTION_FUZZ_SEED` gives others, and `ATTENTION_FUZZ_ROUNDS` multiplies their
/// number.
package struct Mutations {
  private var generator: Philox
  private let seeds: [[UInt8]]
  /// Inserted text: words of the format, and extreme numbers.
  private let words: [[UInt8]]

  /// - Parameters:
  ///   - seeds: valid inputs.
  ///   - words: words of their format.
  package init(of seeds: [[UInt8]], words: [String]) {
    generator = Philox(seed: Self.number("ATTENTION_FUZZ_SEED") ?? 0, label: "mutations")
    self.seeds = seeds
    self.words = (words + Self.edges).map { Array($0.utf8) }
  }

  private static let edges = [
    "0", "-1", "1", "256", "65536", "2147483647", "2147483648", "4294967296", "1099511627776",
    "4611686018427387904", "9223372036854775807", "9223372036854775808", "18446744073709551615",
    "18446744073709551616", "1e308", "-1e308", "1e999", "1e-999", "0x7fffffffffffffff", "NaN",
    "-Infinity", "", " ", "\u{0}", "\u{1B}[31m", "\u{202E}", "\\ud800", "\\u0000", "\"", "'", "[",
    "]", "{",
    "}", ",", ":", "//", "/*", "\u{FEFF}", "é",
  ]

  private static func number(_ variable: String) -> UInt64? {
    getenv(variable).flatMap { UInt64(String(cString: $0)) }
  }

  /// `count` rounds, or the configured multiple.
  package static func rounds(_ count: Int) -> Range<Int> {
    0..<count * Int(number("ATTENTION_FUZZ_ROUNDS") ?? 1)
  }

  /// The next damaged copy.
  package mutating func next() -> [UInt8] {
    var bytes = seeds[generator.next(below: seeds.count)]
    for _ in 0...generator.next(below: 3) { mutate(&bytes) }
    return bytes
  }

  private mutating func mutate(_ bytes: inout [UInt8]) {
    let start = generator.next(below: bytes.count + 1)
    let length = min(bytes.count - start, 1 << generator.next(below: 8))
    let range = start..<start + length
    switch generator.next(below: 8) {
    case 0 where start < bytes.count: bytes[start] ^= 1 << generator.next(below: 8)
    case 1 where start < bytes.count: bytes[start] = UInt8(generator.next(below: 256))
    case 2: bytes.removeSubrange(range)
    case 3: bytes.insert(contentsOf: bytes[range], at: generator.next(below: bytes.count + 1))
    case 4: bytes.removeSubrange(start...)
    case 5: bytes.replaceSubrange(range, with: words[generator.next(below: words.count)])
    case 6:
      // Replaces a number by another.
      let isDigit = { (byte: UInt8) in (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
      guard let first = bytes[start...].firstIndex(where: isDigit) else { break }
      let end = bytes[first...].firstIndex { !isDigit($0) } ?? bytes.count
      bytes.replaceSubrange(first..<end, with: words[generator.next(below: words.count)])
    default: bytes.insert(contentsOf: words[generator.next(below: words.count)], at: start)
    }
  }
}

/// Whether an error can be shown to a person: typed, one line of bounded length, without control characters.
package func isPresentable(_ error: any Error) -> Bool {
  let text = "\(error)"
  let longest = 20_000
  let foreign = ["DecodingError", "EncodingError", "CocoaError", "NSError", "POSIXError"]
  return !foreign.contains("\(type(of: error))") && !text.isEmpty && text.utf8.count <= longest
    && text.unicodeScalars.allSatisfy { $0.value >= 0x20 && !(0x7F..<0xA0).contains($0.value) }
}
