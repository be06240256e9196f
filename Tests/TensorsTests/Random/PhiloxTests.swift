import AttentionCPUKernels
import Testing

@testable import AttentionTensors

@Suite struct PhiloxTests {
  private func block(key: UInt64, low: UInt64, high: UInt64) -> [UInt32] {
    var words: [UInt32] = [0, 0, 0, 0]
    cpu_philox(key, low, high, &words)
    return words
  }

  /// The test vectors of Random123's kat_vectors.
  @Test func bitsOfATensorAreTheNumbersOfTheStream() throws {
    var (first, second) = (Philox(seed: 3, position: 5), Philox(seed: 3, position: 5))
    let bits = try Tensor.randomBits([2, 3], using: &first).elements(as: Int64.self)
    #expect(bits == (0..<6).map { _ in Int64(bitPattern: second.next()) })
    var third = Philox(seed: 3)
    third.skip(11)
    #expect(first == second && first == third)
  }

  @Test func knownAnswers() {
    #expect(block(key: 0, low: 0, high: 0) == [0x6627_E8D5, 0xE169_C58D, 0xBC57_AC4C, 0x9B00_DBD8])
    #expect(
      block(key: .max, low: .max, high: .max)
        == [0x408F_276D, 0x41C8_3B0E, 0xA20B_C7C6, 0x6D54_51FD])
    #expect(
      block(
        key: 0x299F_31D0_A409_3822, low: 0x85A3_08D3_243F_6A88, high: 0x0370_7344_1319_8A2E)
        == [0xD16C_FE09, 0x94FD_CCEB, 0x5001_E420, 0x2412_6EA1])
  }

  @Test func aStreamContinuesFromAnyPosition() {
    var whole = Philox(seed: 7)
    let numbers = (0..<20).map { _ in whole.next() }
    for position in 0..<20 {
      var rest = Philox(seed: 7, position: UInt64(position))
      #expect((position..<20).map { _ in rest.next() } == Array(numbers[position...]))
    }
    #expect(whole.position == 20)
    #expect(Set(numbers).count == 20)
  }

  @Test func labelsAndSeedsGiveOtherStreams() {
    var first: Set<UInt64> = []
    for seed in 0..<10 as Range<UInt64> {
      for label in ["", "a", "b", "ab", "layers.0", "layers.1"] {
        var generator = Philox(seed: seed, label: label)
        #expect(first.insert(generator.next()).inserted, "\(seed) \(label)")
      }
    }
  }

  @Test func numbersBelowABoundAreEquallyLikely() {
    var generator = Philox(seed: 1)
    var counts = [Int](repeating: 0, count: 5)
    for _ in 0..<10_000 { counts[generator.next(below: 5)] += 1 }
    // Five standard deviations of a binomial count: √(10,000·0.2·0.8) = 40.
    for count in counts { #expect(abs(count - 2000) < 200) }
    #expect(generator.next(below: 1) == 0)
    #expect(generator.next(below: 0) == 0)
    for _ in 0..<100 { #expect(0..<Int.max ~= generator.next(below: .max)) }
  }

  @Test func drawsHaveTheirMomentsAndDoNotDependOnTheType() throws {
    var generator = Philox(seed: 2)
    let count = 20_000
    let draws = try Tensor.normal(
      [count], standardDeviation: 3, using: &generator, dtype: .float64)
    let values = try draws.elements(as: Double.self)
    let mean = values.reduce(0, +) / Double(count)
    let variance = values.reduce(0) { $0 + $1 * $1 } / Double(count)
    // Five standard errors: 3/√n for the mean, 9·√(2/n) for the variance.
    #expect(abs(mean) < 0.11)
    #expect(abs(variance - 9) < 0.45)
    var again = Philox(seed: 2)
    let rounded = try Tensor.normal([count], standardDeviation: 3, using: &again)
    #expect(rounded.dtype == .float32)
    #expect(try rounded.elements(as: Float.self) == values.map { Float($0) })
    #expect(again.position == generator.position)
    let uniform = try Tensor.uniform(
      [count], from: -2, to: 4, using: &generator, dtype: .float64
    ).elements(as: Double.self)
    #expect(uniform.allSatisfy { $0 >= -2 && $0 < 4 })
    // The standard error of the mean is 6/√(12 n).
    #expect(abs(uniform.reduce(0, +) / Double(count) - 1) < 0.062)
    #expect(try Tensor.normal([0], using: &generator).elementCount == 0)
    #expect(try Tensor.normal([3], using: &generator).elementCount == 3)
  }
}
