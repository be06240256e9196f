extension LossCurve {
  /// The curve as a picture: bits per byte over steps, training as a line, validation as a line with
  /// dots. It has no background and darkens its ink on a light page, lightens it on a dark one.
  public func svg(title: String) -> String {
    var lines = [
      """
      <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(Layout.width) \(Layout.height)" \
      width="\(Layout.width)" height="\(Layout.height)" role="img">
      """,
      "<title>\(Self.escaped(title))</title>",
      Layout.style,
      "<text class=\"title\" x=\"\(Layout.left)\" y=\"26\">\(Self.escaped(title))</text>",
    ]
    let steps = (training + validation).map { Double($0.step) }
    let values = (training + validation).map(\.bitsPerByte)
    if let lastStep = steps.max(), let low = values.min(), let high = values.max() {
      let x = AxisTicks(from: 0, to: max(1, lastStep), count: 8, wholeNumbers: true)
      let y = AxisTicks(from: low, to: high, count: 7)
      lines += Self.axes(x, y)
      lines += Self.line(
        Self.thinned(training, to: Int(Layout.plotWidth)), "training", x, y, dots: false)
      lines += Self.line(validation, "validation", x, y, dots: true)
      lines += legend()
    } else {
      lines.append("<text x=\"\(Layout.left)\" y=\"\(Layout.height / 2)\">no steps yet</text>")
    }
    lines.append("</svg>\n")
    return lines.joined(separator: "\n")
  }

  /// Sizes in pixels.
  private enum Layout {
    static let width = 760.0
    static let height = 440.0
    static let left = 64.0
    static let right = 24.0
    static let top = 56.0
    static let bottom = 56.0
    static let plotWidth = width - left - right
    static let plotHeight = height - top - bottom

    static let style = """
      <style>
      text { fill: #24292f; font: 12px system-ui, sans-serif }
      .title { font-size: 15px; font-weight: 600 }
      .grid { stroke: #d0d7de; stroke-width: 1 }
      .axis { stroke: #24292f; stroke-width: 1 }
      .line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round }
      .training { stroke: #0969da }
      .validation { stroke: #bc4c00 }
      circle { fill: #bc4c00 }
      @media (prefers-color-scheme: dark) {
        text { fill: #e6edf3 }
        .grid { stroke: #3d444d }
        .axis { stroke: #e6edf3 }
        .training { stroke: #58a6ff }
        .validation { stroke: #f0883e }
        circle { fill: #f0883e }
      }
      </style>
      """
  }

  private static func horizontal(_ x: AxisTicks, _ step: Double) -> String {
    (Layout.left + x.fraction(of: step) * Layout.plotWidth).text(digits: 1)
  }

  private static func vertical(_ y: AxisTicks, _ value: Double) -> String {
    (Layout.top + (1 - y.fraction(of: value)) * Layout.plotHeight).text(digits: 1)
  }

  private static func axes(_ x: AxisTicks, _ y: AxisTicks) -> [String] {
    let floor = Layout.top + Layout.plotHeight
    let right = Layout.left + Layout.plotWidth
    var lines: [String] = []
    for value in y.values {
      let place = vertical(y, value)
      lines.append(
        "<line class=\"grid\" x1=\"\(Layout.left)\" y1=\"\(place)\" x2=\"\(right)\" y2=\"\(place)\"/>"
      )
      lines.append(
        """
        <text x="\(Layout.left - 8)" y="\(place)" dy="0.35em" text-anchor="end">\(y.label(value))</text>
        """)
    }
    for value in x.values {
      let place = horizontal(x, value)
      lines.append(
        "<line class=\"axis\" x1=\"\(place)\" y1=\"\(floor)\" x2=\"\(place)\" y2=\"\(floor + 5)\"/>"
      )
      lines.append(
        "<text x=\"\(place)\" y=\"\(floor + 20)\" text-anchor=\"middle\">\(x.label(value))</text>")
    }
    lines.append(
      "<line class=\"axis\" x1=\"\(Layout.left)\" y1=\"\(floor)\" x2=\"\(right)\" y2=\"\(floor)\"/>"
    )
    let middle = Layout.left + Layout.plotWidth / 2
    lines.append(
      "<text x=\"\(middle)\" y=\"\(floor + 42)\" text-anchor=\"middle\">optimizer steps</text>")
    lines.append(
      """
      <text transform="translate(18 \(Layout.top + Layout.plotHeight / 2)) rotate(-90)" \
      text-anchor="middle">bits per byte</text>
      """)
    return lines
  }

  private static func line(
    _ points: [Point], _ name: String, _ x: AxisTicks, _ y: AxisTicks, dots: Bool
  ) -> [String] {
    guard !points.isEmpty else { return [] }
    let places = points.map {
      (x: horizontal(x, Double($0.step)), y: vertical(y, $0.bitsPerByte))
    }
    let path = places.map { "\($0.x),\($0.y)" }.joined(separator: " ")
    var lines = ["<polyline class=\"line \(name)\" points=\"\(path)\"/>"]
    if dots || points.count == 1 {
      lines += places.map { "<circle class=\"\(name)\" cx=\"\($0.x)\" cy=\"\($0.y)\" r=\"3.5\"/>" }
    }
    return lines
  }

  /// The names of the lines with their last values, at the upper right.
  private func legend() -> [String] {
    let entries = [("training", training.last), ("validation", validation.last)]
    return entries.enumerated().flatMap { index, entry -> [String] in
      guard let last = entry.1 else { return [] }
      let x = Layout.left + Layout.plotWidth - 170
      let y = Layout.top + 14 + Double(index) * 20
      return [
        "<line class=\"line \(entry.0)\" x1=\"\(x)\" y1=\"\(y)\" x2=\"\(x + 24)\" y2=\"\(y)\"/>",
        """
        <text x="\(x + 32)" y="\(y)" dy="0.35em">\(entry.0) \(last.bitsPerByte.text(digits: 3))</text>
        """,
      ]
    }
  }

  private static func escaped(_ text: String) -> String {
    text.reduce(into: "") { result, character in
      switch character {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case let character where character.unicodeScalars.allSatisfy({ $0.value >= 0x20 }):
        result.append(character)
      default: result += " "
      }
    }
  }
}
