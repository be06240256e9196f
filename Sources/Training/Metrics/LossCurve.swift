import AttentionTensors

/// The loss over the steps of a run, on the training text and on the held-out text.
public struct LossCurve: Codable, Hashable, Sendable {
  public struct Point: Codable, Hashable, Sendable {
    public let step: Int
    public let bitsPerByte: Double

    public init(step: Int, bitsPerByte: Double) {
      self.step = step
      self.bitsPerByte = bitsPerByte
    }

    enum CodingKeys: String, CodingKey {
      case step
      case bitsPerByte = "bits_per_byte"
    }
  }

  /// In the order of their steps.
  public var training: [Point] = []
  /// In the order of their steps.
  public var validation: [Point] = []

  public init(training: [Point] = [], validation: [Point] = []) {
    self.training = training
    self.validation = validation
  }

  /// Adjacent points averaged so that at most `limit` are left, for an image of that width.
  static func thinned(_ points: [Point], to limit: Int) -> [Point] {
    guard points.count > limit, limit > 0 else { return points }
    return (0..<limit).map { bucket in
      let range = points[bucket * points.count / limit..<(bucket + 1) * points.count / limit]
      let sum = range.reduce(0) { $0 + $1.bitsPerByte }
      return Point(
        step: range[range.startIndex + range.count / 2].step, bitsPerByte: sum / Double(range.count)
      )
    }
  }
}

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
