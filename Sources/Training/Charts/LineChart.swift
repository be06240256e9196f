import Tensors

/// Lines over two axes as an SVG picture. It has no background, and darkens its ink on a light page
/// and lightens it on a dark one.
public struct LineChart: Sendable {
  public struct Series: Sendable {
    let name: String
    let points: [(x: Double, y: Double)]
    let hasDots: Bool

    /// - Parameters:
    ///   - name: for the legend.
    ///   - points: in the order in which they are joined.
    ///   - hasDots: whether each point is marked; a single one always is.
    public init(name: String, points: [(x: Double, y: Double)], hasDots: Bool) {
      self.name = name
      self.points = points
      self.hasDots = hasDots
    }
  }

  private let title: String
  private let x: ChartAxis
  private let y: ChartAxis
  /// Those that have points.
  private let series: [Series]

  public init(title: String, x: ChartAxis, y: ChartAxis, series: [Series]) {
    self.title = title
    self.x = x
    self.y = y
    self.series = series.filter { !$0.points.isEmpty }
  }

  /// The width of the plot in pixels: more points than this show nothing more.
  static let plotWidth = Layout.plotWidth

  public func svg() -> String {
    let body =
      series.isEmpty
      ? ["<text x=\"\(Layout.left)\" y=\"\(Layout.height / 2)\">nothing yet</text>"]
      : horizontalAxis() + verticalAxis() + series.indices.flatMap(line) + legend()
    let head = [
      """
      <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(Layout.width) \(Layout.height)" \
      width="\(Layout.width)" height="\(Layout.height)" role="img">
      """,
      "<title>\(Self.escaped(title))</title>",
      Layout.style,
      "<text class=\"title\" x=\"\(Layout.left)\" y=\"26\">\(Self.escaped(title))</text>",
    ]
    return (head + body + ["</svg>\n"]).joined(separator: "\n")
  }

  /// Sizes in pixels, and colours.
  private enum Layout {
    static let width = 760.0
    static let height = 440.0
    static let left = 64.0
    static let right = 24.0
    static let top = 56.0
    static let bottom = 56.0
    static let plotWidth = width - left - right
    static let plotHeight = height - top - bottom
    static let legendWidth = 170.0
    static let floor = top + plotHeight
    static let edge = left + plotWidth

    /// For light and for dark pages; further lines begin again, dashed.
    static let colours = [
      ("#0969da", "#58a6ff"), ("#bc4c00", "#f0883e"), ("#1a7f37", "#3fb950"),
      ("#8250df", "#bc8cff"), ("#bf3989", "#f778ba"), ("#57606a", "#8b949e"),
    ]

    static let style = """
      <style>
      text { fill: #24292f; font: 12px system-ui, sans-serif }
      .title { font-size: 15px; font-weight: 600 }
      .grid { stroke: #d0d7de; stroke-width: 1 }
      .axis { stroke: #24292f; stroke-width: 1 }
      .line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round }
      .dashed { stroke-dasharray: 6 5 }
      \(ink { $0.0 })
      @media (prefers-color-scheme: dark) {
        text { fill: #e6edf3 }
        .grid { stroke: #3d444d }
        .axis { stroke: #e6edf3 }
      \(ink { $0.1 })
      }
      </style>
      """

    private static func ink(_ choose: ((String, String)) -> String) -> String {
      colours.indices.map { index in
        let colour = choose(colours[index])
        return ".series\(index) { stroke: \(colour) } circle.series\(index) { fill: \(colour) }"
      }.joined(separator: "\n")
    }
  }

  /// A colour of its own; where there are more lines than colours, the further ones are dashed.
  private static func style(_ index: Int) -> String {
    "series\(index % Layout.colours.count)" + (index < Layout.colours.count ? "" : " dashed")
  }

  private func across(_ value: Double) -> String {
    (Layout.left + x.fraction(of: value) * Layout.plotWidth).text(digits: 1)
  }

  private func down(_ value: Double) -> String {
    (Layout.top + (1 - y.fraction(of: value)) * Layout.plotHeight).text(digits: 1)
  }

  private func verticalAxis() -> [String] {
    let middle = Layout.top + Layout.plotHeight / 2
    return y.marks.flatMap { mark -> [String] in
      let place = down(mark.value)
      return [
        """
        <line class="grid" x1="\(Layout.left)" y1="\(place)" x2="\(Layout.edge)" y2="\(place)"/>
        """,
        """
        <text x="\(Layout.left - 8)" y="\(place)" dy="0.35em" text-anchor="end">\(mark.label)</text>
        """,
      ]
    } + [
      """
      <text transform="translate(18 \(middle)) rotate(-90)" text-anchor="middle">\
      \(Self.escaped(y.title))</text>
      """
    ]
  }

  private func horizontalAxis() -> [String] {
    let floor = Layout.floor
    let middle = Layout.left + Layout.plotWidth / 2
    return x.marks.flatMap { mark -> [String] in
      let place = across(mark.value)
      return [
        "<line class=\"axis\" x1=\"\(place)\" y1=\"\(floor)\" x2=\"\(place)\" y2=\"\(floor + 5)\"/>",
        "<text x=\"\(place)\" y=\"\(floor + 20)\" text-anchor=\"middle\">\(mark.label)</text>",
      ]
    } + [
      """
      <line class="axis" x1="\(Layout.left)" y1="\(floor)" x2="\(Layout.edge)" y2="\(floor)"/>
      """,
      """
      <text x="\(middle)" y="\(floor + 42)" text-anchor="middle">\(Self.escaped(x.title))</text>
      """,
    ]
  }

  private func line(_ index: Int) -> [String] {
    let series = series[index]
    let places = series.points.map { (x: across($0.x), y: down($0.y)) }
    let path = places.map { "\($0.x),\($0.y)" }.joined(separator: " ")
    let name = Self.style(index)
    var lines = ["<polyline class=\"line \(name)\" points=\"\(path)\"/>"]
    if series.hasDots || places.count == 1 {
      lines += places.map { "<circle class=\"\(name)\" cx=\"\($0.x)\" cy=\"\($0.y)\" r=\"3.5\"/>" }
    }
    return lines
  }

  /// The names of the lines, at the upper right.
  private func legend() -> [String] {
    let x = Layout.edge - Layout.legendWidth
    return series.indices.flatMap { index -> [String] in
      let y = Layout.top + 14 + Double(index) * 20
      return [
        """
        <line class="line \(Self.style(index))" x1="\(x)" y1="\(y)" x2="\(x + 24)" y2="\(y)"/>
        """,
        "<text x=\"\(x + 32)\" y=\"\(y)\" dy=\"0.35em\">\(Self.escaped(series[index].name))</text>",
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
