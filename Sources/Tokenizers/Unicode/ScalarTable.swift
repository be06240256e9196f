/// A set of Unicode scalars for testing many of them: bits in blocks of 256 scalars, of which equal ones are kept once.
struct ScalarTable: Sendable {
  private static let blockBits = 8
  private static let wordsPerBlock = 4

  /// The number of each block of 256 scalars.
  private(set) var blocks: [UInt16]
  /// The bits of each kept block.
  private(set) var words: [UInt64]

  init(_ set: ScalarSet) {
    blocks = []
    words = []
    var numbers: [SIMD4<UInt64>: UInt16] = [:]
    var ranges = set.ranges[...]
    for start in stride(from: UInt32(0), through: 0x10FFFF, by: 1 << Self.blockBits) {
      let end = start + 255
      while let first = ranges.first, first.upperBound < start { ranges.removeFirst() }
      var bits = SIMD4<UInt64>()
      for range in ranges {
        guard range.lowerBound <= end else { break }
        Self.fill(&bits, max(range.lowerBound, start) - start, min(range.upperBound, end) - start)
      }
      let number = numbers[bits] ?? UInt16(numbers.count)
      if numbers.updateValue(number, forKey: bits) == nil {
        for word in 0..<Self.wordsPerBlock { words.append(bits[word]) }
      }
      blocks.append(number)
    }
  }

  /// Sets the bits `first` to `last` of a block.
  private static func fill(_ bits: inout SIMD4<UInt64>, _ first: UInt32, _ last: UInt32) {
    for word in Int(first >> 6)...Int(last >> 6) {
      let low = max(Int(first) - word * 64, 0)
      let high = min(Int(last) - word * 64, 63)
      bits[word] |= (UInt64.max >> UInt64(63 - high)) & (UInt64.max << UInt64(low))
    }
  }

  @inline(__always)
  func contains(_ scalar: UInt32) -> Bool {
    let block = Int(blocks[Int(scalar >> 8)])
    return words[block << 2 | Int(scalar >> 6) & 3] >> UInt64(scalar & 63) & 1 != 0
  }
}
