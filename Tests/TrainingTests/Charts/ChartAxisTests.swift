import Testing

@testable import Training

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

  @Test func linesBeyondTheColoursAreDashed() {
    let series = (0..<8).map {
      LineChart.Series(name: "line \($0)", points: [(x: 1, y: 2), (x: 2, y: 3)], hasDots: false)
    }
    let svg = LineChart(
      title: "many", x: .linear("x", from: 1, to: 2, count: 2),
      y: .linear("y", from: 2, to: 3, count: 2), series: series
    ).svg()
    #expect(svg.contains("class=\"line series5\""))
    #expect(svg.contains("class=\"line series1 dashed\""))
    for index in 0..<8 { #expect(svg.contains("line \(index)</text>")) }
  }
}
