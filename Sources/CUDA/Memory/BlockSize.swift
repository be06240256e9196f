/// The sizes in which memory is kept for reuse: four a power of two, so that at most a quarter of a block
/// is unused and few sizes differ.
package struct BlockSize: Hashable, Sendable {
  /// What blocks begin at multiples of, and their sizes are.
  package static let alignment = 64
  private static let least = 256
  private static let perPower = 4
  /// More than there are.
  package static let count = Int.bitWidth * perPower

  package let bytes: Int
  /// Its place among all sizes, below ``count``.
  package let number: Int

  /// The smallest size for so many bytes, at most 2⁶².
  package init(atLeast bytes: Int) {
    guard bytes > Self.least else {
      (self.bytes, number) = (Self.least, 0)
      return
    }
    let exponent = Int.bitWidth - 1 - (bytes - 1).leadingZeroBitCount
    let power = 1 << exponent
    let step = power / Self.perPower
    let steps = (bytes - power + step - 1) / step
    self.bytes = power + steps * step
    number = (exponent - Self.least.trailingZeroBitCount) * Self.perPower + steps
  }
}
