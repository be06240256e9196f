import AttentionTensors

extension LossCurve {
  /// The curve as an SVG image: bits per byte over steps, training as a line, validation as a line with
  /// dots, each with its last value in the legend.
  public func svg(title: String) -> String {
    let points = training + validation
    let values = points.map(\.bitsPerByte)
    let lastStep = points.map { Double($0.step) }.max() ?? 0
    return LineChart(
      title: title,
      x: .linear(
        "optimizer steps", from: 0, to: max(1, lastStep), count: 8, wholeNumbers: true),
      y: .linear("bits per byte", from: values.min() ?? 0, to: values.max() ?? 1, count: 7),
      series: [
        Self.series(
          "training", Self.thinned(training, to: Int(LineChart.plotWidth)), last: training.last,
          hasDots: false),
        Self.series("validation", validation, last: validation.last, hasDots: true),
      ]
    ).svg()
  }

  private static func series(
    _ name: String, _ points: [Point], last: Point?, hasDots: Bool
  ) -> LineChart.Series {
    LineChart.Series(
      name: last.map { "\(name) \($0.bitsPerByte.text(digits: 3))" } ?? name,
      points: points.map { (x: Double($0.step), y: $0.bitsPerByte) }, hasDots: hasDots)
  }
}
