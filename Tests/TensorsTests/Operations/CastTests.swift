import Testing

@testable import AttentionTensors

@Suite struct CastTests {
  /// `value` rounded to nearest, ties to even, with this many fraction bits, by arithmetic alone.
  private func rounded(_ value: Double, fractionBits: Int, smallestExponent: Int, largest: Double)
    -> Double
  {
    guard value.isFinite, value != 0 else { return value }
    let exponent = max(Int(value.exponent), smallestExponent)
    let unit = Double(sign: .plus, exponent: exponent - fractionBits, significand: 1)
    let result = (value / unit).rounded(.toNearestOrEven) * unit
    return result.magnitude > largest ? (result < 0 ? -.infinity : .infinity) : result
  }

  private func rounded(_ value: Double, to dtype: DType) -> Double {
    dtype == .float16
      ? rounded(value, fractionBits: 10, smallestExponent: -14, largest: 65_504)
      : rounded(value, fractionBits: 7, smallestExponent: -126, largest: 0x1.FEp127)
  }

  /// Ties and their neighbours, subnormals and limits of both half types.
  static let nasty: [Double] = {
    var values: [Double] = [0, .infinity, 65_504, 65_519.99, 65_520, 0x1.FEp127, 0x1.FFp127]
    for exponent in [-149, -133, -126, -24, -25, -15, -14, -1, 0, 3, 15, 120] {
      for significand in [1, 1 + 0x1p-8, 1 + 0x3p-8, 1 + 0x1p-11, 1 + 0x3p-11, 1.99999, 1.5] {
        values.append(Double(sign: .plus, exponent: exponent, significand: significand))
      }
    }
    return values + values.map { -$0 }
  }()

  @Test(arguments: [DType.float16, .bfloat16], InstructionSet.supported)
  func halvesRoundToNearestEven(_ dtype: DType, _ set: InstructionSet) throws {
    var values = Self.nasty.map { Float($0) }
    for bits in stride(from: 0, to: Int(UInt32.max), by: 1_000_003) {
      values.append(Float(bitPattern: UInt32(bits)))
    }
    let converted = try InstructionSet.withCurrent(set) {
      try Tensor(values).cast(to: dtype).cast(to: .float32).elements(as: Float.self)
    }
    for (value, actual) in zip(values, converted) {
      let expected = Float(rounded(Double(value), to: dtype))
      let isRight = value.isNaN ? actual.isNaN : actual.bitPattern == expected.bitPattern
      #expect(isRight, "\(value) became \(actual), not \(expected)")
    }
  }

  @Test(arguments: [DType.float16, .bfloat16])
  func float64IsRoundedOnce(_ dtype: DType) throws {
    // Slightly above a tie: through float32 it would become the tie, then round to even.
    let values = Self.nasty.flatMap { [$0, $0.nextUp, $0.nextDown, $0 * (1 + 0x1p-40)] }
    let converted = try Tensor(values).cast(to: dtype).elements(as: Double.self)
    for (value, actual) in zip(values, converted) {
      let expected = rounded(value, to: dtype)
      #expect(actual == expected, "\(value) became \(actual), not \(expected)")
    }
  }

  @Test func everyHalfIsWidenedExactly() throws {
    let bits = (0...UInt16.max).map { $0 }
    let brains = bits.map { BFloat16(bitPattern: $0) }
    let halves = bits.map { Float16(bitPattern: $0) }
    for set in InstructionSet.supported {
      try InstructionSet.withCurrent(set) {
        let wideBrains = try Tensor(brains).elements(as: Float.self)
        let wideHalves = try Tensor(halves).elements(as: Float.self)
        for index in bits.indices {
          let (x, y) = (wideBrains[index], wideHalves[index])
          let isRight =
            (x == brains[index].float || x.isNaN && brains[index].float.isNaN)
            && (y == Float(halves[index]) || y.isNaN && halves[index].isNaN)
          if !isRight { Issue.record("bits \(bits[index]) with \(set): \(x), \(y)") }
        }
      }
    }
  }

  @Test func integersAreTruncatedAndClamped() throws {
    let values = [1.9, -1.9, 0.5, -0.0, 3e9, -3e9, 1e300, -1e300, .infinity, -.infinity, .nan]
    let small = try Tensor(values).cast(to: .int32).elements(as: Int32.self)
    #expect(small == [1, -1, 0, 0, .max, .min, .max, .min, .max, .min, 0])
    let large = try Tensor(values).cast(to: .int64).elements(as: Int64.self)
    #expect(
      large == [1, -1, 0, 0, 3_000_000_000, -3_000_000_000, .max, .min, .max, .min, 0])
    // 2⁶³ as a float is just beyond the largest integer.
    #expect(try Tensor([0x1p63, -0x1p63]).elements(as: Int64.self) == [.max, .min])
    let narrowed = try Tensor([Int64.max, 5]).elements(as: Int32.self)
    #expect(narrowed == [.max, 5])
  }

  @Test func boolsAreOneAndZero() throws {
    let flags = try Tensor([0, -0.0, 1e-300, .nan, -3]).cast(to: .bool)
    #expect(try flags.elements(as: Bool.self) == [false, false, true, true, true])
    for dtype in DType.allCases {
      #expect(try flags.cast(to: dtype).elements(as: Double.self) == [0, 0, 1, 1, 1], "\(dtype)")
    }
  }

  @Test func smallIntegersSurviveEveryPairOfTypes() throws {
    for from in DType.allCases {
      for to in DType.allCases where from != .bool && to != .bool {
        let values = try Tensor([0, 1, -2, 100] as [Float]).cast(to: from).cast(to: to)
        #expect(try values.elements(as: Double.self) == [0, 1, -2, 100], "\(from) to \(to)")
      }
    }
  }

  @Test func gradientsAreConvertedBack() throws {
    let x = try Tensor([1, 2] as [Float]).tracked()
    let gradient = try x.cast(to: .bfloat16).cast(to: .float64).sum().gradients(of: [x])[0]
    #expect(gradient.dtype == .float32)
    #expect(try gradient.elements(as: Float.self) == [1, 1])
    #expect(try !x.cast(to: .int32).isTracked)
  }
}
