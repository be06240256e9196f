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
    var numbers: [[UInt64]: UInt16] = [:]
    var next = 0
    for start in stride(from: UInt32(0), through: 0x10FFFF, by: 1 << Self.blockBits) {
      var bits = [UInt64](repeating: 0, count: Self.wordsPerBlock)
      let end = start + 255
      while next < set.ranges.count, set.ranges[next].upperBound < start { next += 1 }
      var other = next
      while other < set.ranges.count, set.ranges[other].lowerBound <= end {
        let range = set.ranges[other].clamped(to: start...end)
        for scalar in range { bits[Int(scalar - start) >> 6] |= 1 << UInt64(scalar & 63) }
        other += 1
      }
      let number = numbers[bits] ?? UInt16(numbers.count)
      if numbers.updateValue(number, forKey: bits) == nil { words += bits }
      blocks.append(number)
    }
  }

  @inline(__always)
  func contains(_ scalar: UInt32) -> Bool {
    let block = Int(blocks[Int(scalar >> 8)])
    return words[block << 2 | Int(scalar >> 6) & 3] >> UInt64(scalar & 63) & 1 != 0
  }
}
