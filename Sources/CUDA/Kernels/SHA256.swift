/// SHA-256 as in FIPS 180-4, which names compiled kernels and verifies them.
struct SHA256 {
  /// Hexadecimal digits of a hash.
  static let hexadecimalCount = 64

  /// The hash of `bytes` in hexadecimal digits.
  static func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    var hash = SHA256()
    for byte in bytes { hash.add(byte) }
    return hash.finish()
  }

  private static let blockBytes = 64
  private static let rounds = 64

  private static let primes: [UInt64] = {
    var primes: [UInt64] = []
    var number: UInt64 = 2
    while primes.count < rounds {
      if primes.allSatisfy({ number % $0 != 0 }) { primes.append(number) }
      number += 1
    }
    return primes
  }()

  /// The first 32 fractional bits of the cube roots of the primes.
  private static let constants = primes.map { fraction(of: $0, power: 3) }

  private var state = Self.primes.prefix(8).map { fraction(of: $0, power: 2) }
  private var block: [UInt8] = []
  private var byteCount: UInt64 = 0

  /// ⌊2³² · (number^(1/power) mod 1)⌋, by bisection in integers.
  private static func fraction(of number: UInt64, power: Int) -> UInt32 {
    var (low, high): (UInt64, UInt64) = (0, 1 << 37)
    // The largest r with r^power ≤ number · 2^(32 · power), compared in at least 128 bits.
    while high - low > 1 {
      let middle = (low + high) / 2
      if isAtMost(middle, power, number) { low = middle } else { high = middle }
    }
    return UInt32(truncatingIfNeeded: low)
  }

  private static func isAtMost(_ root: UInt64, _ power: Int, _ number: UInt64) -> Bool {
    let square = UInt128(root) * UInt128(root)
    guard power == 3 else { return square <= UInt128(number) << 64 }
    // For integers, root³ ≤ number · 2⁹⁶ if and only if ⌈root² · root / 2⁶⁴⌉ ≤ number · 2³².
    let high = (square >> 64) * UInt128(root)
    let low = (square & UInt128(UInt64.max)) * UInt128(root)
    let whole = high + (low >> 64)
    let rest = low & UInt128(UInt64.max)
    return whole + (rest == 0 ? 0 : 1) <= UInt128(number) << 32
  }

  private mutating func add(_ byte: UInt8) {
    byteCount += 1
    push(byte)
  }

  private mutating func push(_ byte: UInt8) {
    block.append(byte)
    if block.count == Self.blockBytes {
      compress()
      block.removeAll(keepingCapacity: true)
    }
  }

  private mutating func finish() -> String {
    let bits = byteCount * 8
    push(0x80)
    while block.count != Self.blockBytes - 8 { push(0) }
    for shift in stride(from: 56, through: 0, by: -8) {
      push(UInt8(truncatingIfNeeded: bits >> UInt64(shift)))
    }
    return state.map { word in
      let digits = String(word, radix: 16)
      return String(repeating: "0", count: 8 - digits.count) + digits
    }.joined()
  }

  private mutating func compress() {
    func rotate(_ x: UInt32, _ by: UInt32) -> UInt32 { x >> by | x << (32 - by) }
    let constants = Self.constants
    var w = stride(from: 0, to: Self.blockBytes, by: 4).map { start in
      block[start..<start + 4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
    }
    for t in 16..<Self.rounds {
      let small0 = rotate(w[t - 15], 7) ^ rotate(w[t - 15], 18) ^ w[t - 15] >> 3
      let small1 = rotate(w[t - 2], 17) ^ rotate(w[t - 2], 19) ^ w[t - 2] >> 10
      w.append(w[t - 16] &+ small0 &+ w[t - 7] &+ small1)
    }
    var (a, b, c, d) = (state[0], state[1], state[2], state[3])
    var (e, f, g, h) = (state[4], state[5], state[6], state[7])
    for t in 0..<Self.rounds {
      let big1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)
      let choice = e & f ^ ~e & g
      let first = h &+ big1 &+ choice &+ constants[t] &+ w[t]
      let big0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)
      let majority = a & b ^ a & c ^ b & c
      (h, g, f, e) = (g, f, e, d &+ first)
      (d, c, b, a) = (c, b, a, first &+ big0 &+ majority)
    }
    for (place, value) in [a, b, c, d, e, f, g, h].enumerated() { state[place] &+= value }
  }
}
