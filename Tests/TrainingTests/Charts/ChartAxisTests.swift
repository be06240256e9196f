import Testing

@testable import AttentionTraining

@Suite struct ChartAxisTests {
  @Test func equalRatiosAreEqualDistancesOnALogarithmicAxis() {
    let axis = ChartAxis.logarithmic("length", marks: [4096, 64, 512, 64])
    #expect(axis.marks.map(\.label) == ["64", "512", "4096"])
    #expect(abs(axis.fraction(of: 64)) < 1e-12)
    #expect(abs(axis.fraction(of: 512) - 0.5) < 1e-12)
    #expect(abs(axis.fraction(of: 4096) - 1) < 1e-12)
  }

  @Test(arguments: [[], [7], [0, -3]])
  func anAxisWithoutARangeIsFinite(marks: [Int]) {
    let axis = ChartAxis.logarithmic("length", marks: marks)
    for value in [0.0, 1, 7] { #expect(axis.fraction(of: value).isFinite) }
  }

  @Test(arguments: [
    (0.02, 0.3, ["0.02", "0.05", "0.1", "0.2", "0.5"]), (1, 10, ["1", "2", "5", "10"]),
    (3, 3, ["2", "5"]), (5, 5, ["5", "10"]), (0.5, 700, ["1", "10", "100", "1000"]),
  ])
  func marksOfRatiosCoverTheRange(low: Double, high: Double, labels: [String]) {
    let axis = ChartAxis.logarithmic("time", from: low, to: high)
    #expect(axis.marks.map(\.label) == labels)
    for value in [low, high] {
      #expect((-1e-9...1 + 1e-9).contains(axis.fraction(of: value)), "\(value)")
    }
  }

  @Test(arguments: [0, -1, .nan, .infinity, 1e-300, 1e300])
  func rangesWithoutRatiosAreFinite(value: Double) {
    let axis = ChartAxis.logarithmic("time", from: value, to: value)
    #expect(!axis.marks.isEmpty && axis.marks.count < 20)
    #expect(axis.fraction(of: 1).isFinite && axis.fraction(of: value).isNaN == value.isNaN)
  }
}
