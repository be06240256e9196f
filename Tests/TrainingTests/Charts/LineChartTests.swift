import Testing

@testable import AttentionTraining

/// Lines of a chart must be distinguishable and completely visible.
@Suite struct LineChartTests {
  private static let axes = (
    x: ChartAxis.logarithmic("length (tokens)", marks: [128, 1024]),
    y: ChartAxis.logarithmic("time (µs)", from: 1, to: 100)
  )

  private static func series(_ names: [String]) -> [LineChart.Series] {
    names.map {
      LineChart.Series(name: $0, points: [(x: 128, y: 2), (x: 1024, y: 30)], hasDots: true)
    }
  }

  private static func panel(_ title: String, _ names: [String]) -> LineChart.Panel {
    LineChart.Panel(title: title, x: axes.x, y: axes.y, series: series(names))
  }

  /// The boxes of a class: left, top, right and bottom.
  private static func boxes(_ name: String, in svg: String) throws -> [[Double]] {
    let pattern = try Regex(
      "<rect class=\"\(name)\" x=\"([0-9.]+)\" y=\"([0-9.]+)\" width=\"([0-9.]+)\" height=\"([0-9.]+)\"/>",
      as: (Substring, Substring, Substring, Substring, Substring).self)
    return svg.matches(of: pattern).compactMap { match in
      let numbers = [match.output.1, match.output.2, match.output.3, match.output.4].compactMap {
        Double($0)
      }
      guard numbers.count == 4 else { return nil }
      return [numbers[0], numbers[1], numbers[0] + numbers[2], numbers[1] + numbers[3]]
    }
  }

  private static func size(of svg: String) throws -> [Double] {
    let match = try #require(svg.firstMatch(of: /viewBox="0 0 (\d+) (\d+)"/))
    return try [#require(Double(match.output.1)), #require(Double(match.output.2))]
  }

  @Test(arguments: [
    LineChart(title: "one", x: axes.x, y: axes.y, series: series(["training", "validation"])),
    LineChart(
      title: "high", x: axes.x, y: axes.y, series: series((0..<30).map { "line \($0)" })),
    LineChart(
      title: "panels",
      panels: [
        panel("first", ["a", "b", "a name that is longer than others"]), panel("second", ["a"]),
        panel("third", (0..<20).map { "line \($0)" }),
      ]),
  ])
  func legendsLieBesideTheLines(chart: LineChart) throws {
    let svg = chart.svg()
    let (data, legends) = (try Self.boxes("data", in: svg), try Self.boxes("legend", in: svg))
    #expect(!data.isEmpty && data.count == legends.count)
    let size = try Self.size(of: svg)
    let all = data + legends
    for (index, box) in all.enumerated() {
      #expect(box[0] >= 0 && box[1] >= 0 && box[2] <= size[0] && box[3] <= size[1], "\(box)")
      for other in all[(index + 1)...] {
        let isApart =
          box[2] <= other[0] || other[2] <= box[0] || box[3] <= other[1] || other[3] <= box[1]
        #expect(isApart, "\(box) and \(other)")
      }
    }
    // Every point of a line is inside a plot, every name starts inside a legend.
    let marks = /<path class="mark[^"]*" transform="translate\(([0-9.]+) ([0-9.]+)\)/
    for match in svg.matches(of: marks) {
      let (x, y) = (try #require(Double(match.output.1)), try #require(Double(match.output.2)))
      #expect(all.contains { $0[0] <= x && x <= $0[2] && $0[1] <= y && y <= $0[3] }, "\(x) \(y)")
    }
  }

  @Test func noTwoLinesOfAPictureLookAlike() {
    let svg = LineChart(
      title: "many",
      panels: [
        Self.panel("first", (0..<20).map { "line \($0)" }),
        Self.panel("second", (20..<40).map { "line \($0)" }),
      ]
    ).svg()
    // A line and its marks.
    let looks = svg.matches(of: /<polyline class="([^"]*)"[^>]*>\s*<path class="([^"]*)"/)
      .map { "\($0.output.1) \($0.output.2)" }
    #expect(looks.count == 40 && Set(looks).count == 40)
    for index in 0..<40 { #expect(svg.contains(">line \(index)</text>")) }
    // Each line looks the same in the legend and in the plot.
    for look in Set(looks) {
      let colour = look.split(separator: " ").first { $0.hasPrefix("colour") } ?? ""
      #expect(svg.contains(".\(colour) { stroke: "), "\(colour)")
    }
  }

  @Test func subjectsKeepTheirColourInEveryVariant() {
    let styles = (0..<30).flatMap { subject in
      (0..<4).map { ChartStyle(subject: subject, variant: $0) }
    }
    let baselines = (0..<3).flatMap { subject in
      (0..<4).map { ChartStyle.baseline(subject: subject, variant: $0) }
    }
    let wide = (0..<60).flatMap { subject in
      (0..<2).map { ChartStyle(subject: subject, variant: $0) }
    }
    for all in [styles + baselines, wide + baselines] { #expect(Set(all).count == all.count) }
    for subject in 0..<30 {
      let own = styles[(4 * subject)..<(4 * subject + 4)]
      #expect(Set(own.map(\.colour)).count == 1 && Set(own.map(\.mark)).count == 1)
    }
  }

  @Test func titlesAreText() {
    let svg = LineChart(title: "a < b & c", panels: [Self.panel("d > e", ["f\u{7}"])]).svg()
    for words in ["a &lt; b &amp; c", "d &gt; e", "length (tokens)", "time (µs)"] {
      #expect(svg.contains(">\(words)</text>"), "\(words)")
    }
    #expect(svg.contains(">f </text>"))
  }

  @Test func aChartWithoutLinesSaysSo() {
    #expect(LineChart(title: "none", panels: []).svg().contains("nothing yet"))
    #expect(
      LineChart(title: "none", x: Self.axes.x, y: Self.axes.y, series: []).svg()
        .contains("nothing yet"))
  }
}
