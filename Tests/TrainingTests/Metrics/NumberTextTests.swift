import AttentionTensors
import Testing

@testable import AttentionTraining

@Suite struct NumberTextTests {
  @Test func numbersHaveTheirDigits() {
    #expect(2.306.text(digits: 2) == "2.31")
    #expect(2.0.text(digits: 2) == "2.00")
    #expect(0.05.text(digits: 3) == "0.050")
    #expect((-1.5).text(digits: 1) == "-1.5")
    #expect((-0.001).text(digits: 1) == "0.0")
    #expect(9.999.text(digits: 2) == "10.00")
    #expect(12.5.text(digits: 0) == "13")
    #expect(Double.nan.text(digits: 2) == "nan")
    #expect(9e14.text(digits: 3) == "900000000000000.000")
    #expect(9e14.text(digits: 7) == "900000000000000.0")
    #expect(1e-20.text(digits: 30) == "1e-20")
  }

  @Test func largeNumbersAreShort() {
    #expect(950.0.shortText == "950")
    #expect(12_345.0.shortText == "12.3k")
    #expect(999.6.shortText == "1.00k")
    #expect(4_560_000.0.shortText == "4.56M")
    #expect(123_456_789.0.shortText == "123M")
    #expect(0.0.shortText == "0")
  }

  @Test func durationsReadAsClocks() {
    #expect(Duration.seconds(65).clockText == "1:05")
    #expect(Duration.seconds(7241).clockText == "2:00:41")
    #expect(Duration.milliseconds(59_600).clockText == "1:00")
    #expect(Duration.zero.clockText == "0:00")
  }
}
