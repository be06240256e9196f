/// Size classes of memory blocks kept for reuse. With four per power of two there are few sizes, and
/// rounding up adds less than a quarter to a request of more than 256 bytes.
package struct BlockSize: Hashable, Sendable {
  /// Alignment of block addresses and sizes, in bytes.
  package static let alignment = 64
  private static let least = 256
  private static let perPower = 4
  /// Upper bound on the number of size classes.
  package static let count = Int.bitWidth * perPower

  package let bytes: Int
  /// Index of the size class, below ``count``.
  package let number: Int

  /// The smallest size class of at least `bytes`, which must be at most 2⁶².
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
