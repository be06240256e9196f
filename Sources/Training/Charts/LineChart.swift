import AttentionTensors

/// A line chart as an SVG image, in one or several panels, each with a legend beside it. The background is
/// transparent; colours adapt to light and dark pages.
public struct LineChart: Sendable {
  public struct Series: Sendable {
    let name: String
    let points: [(x: Double, y: Double)]
    let hasDots: Bool
    let style: ChartStyle?

    /// - Parameters:
    ///   - name: in the legend.
    ///   - points: in the order in which they are joined.
    ///   - hasDots: whether each point is marked; a single point always is.
    ///   - style: nil for a style that no other line without one has.
    public init(
      name: String, points: [(x: Double, y: Double)], hasDots: Bool, style: ChartStyle? = nil
    ) {
      self.name = name
      self.points = points
      self.hasDots = hasDots
      self.style = style
    }
  }

  /// Lines that share a pair of axes.
  public struct Panel: Sendable {
    let title: String
    let x: ChartAxis
    let y: ChartAxis
    /// The lines that have points.
    let series: [Series]

    /// - Parameters:
    ///   - title: what the lines show; empty if the chart's title says so.
    ///   - x: the horizontal axis.
    ///   - y: the vertical axis.
    ///   - series: the lines, in the order of the legend.
    public init(title: String, x: ChartAxis, y: ChartAxis, series: [Series]) {
      self.title = title
      self.x = x
      self.y = y
      self.series = series.filter { !$0.points.isEmpty }
    }
  }

  private let title: String
  private let panels: [Panel]
  private let size: ChartPanel.Size

  /// A chart of one panel.
  public init(title: String, x: ChartAxis, y: ChartAxis, series: [Series]) {
    self.title = title
    panels = [Panel(title: "", x: x, y: y, series: series)].filter { !$0.series.isEmpty }
    size = ChartPanel.Size(width: Self.plotWidth, height: Self.plotHeight, of: panels)
  }

  /// A chart of panels, two per row. Panels without lines are left out.
  public init(title: String, panels: [Panel]) {
    self.title = title
    self.panels = panels.filter { !$0.series.isEmpty }
    size = ChartPanel.Size(
      width: Self.smallPlotWidth, height: Self.smallPlotHeight, of: self.panels)
  }

  /// The width of the plot in pixels; more points than this would not be visible.
  static let plotWidth = 672.0
  private static let plotHeight = 328.0
  private static let smallPlotWidth = 380.0
  private static let smallPlotHeight = 230.0
  /// The height of the chart's title.
  private static let head = 44.0
  private static let left = 16.0
  private static let panelsInARow = 2

  public func svg() -> String {
    let columns = max(1, min(Self.panelsInARow, panels.count))
    let rows = max(1, panels.count.pieces(of: columns))
    let width = (Self.left + Double(columns) * size.outerWidth).text(digits: 0)
    let height = (Self.head + Double(rows) * size.outerHeight).text(digits: 0)
    var firstStyle = 0
    let drawn = panels.enumerated().flatMap { index, panel -> [String] in
      let styles = panel.series.enumerated().map { place, series in
        series.style ?? ChartStyle(subject: firstStyle + place)
      }
      firstStyle += panel.series.count
      return ChartPanel(
        panel, styles: styles, size: size,
        left: Self.left + Double(index % columns) * size.outerWidth,
        top: Self.head + Double(index / columns) * size.outerHeight
      ).lines()
    }
    let title = ChartPanel.escaped(title)
    let head = [
      """
      <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(width) \(height)" \
      width="\(width)" height="\(height)" role="img">
      """,
      "<title>\(title)</title>",
      Self.style,
      "<text class=\"title\" x=\"\(Self.left)\" y=\"26\">\(title)</text>",
    ]
    let nothing = ["<text x=\"\(Self.left)\" y=\"\(Self.head + 24)\">nothing yet</text>"]
    return (head + (panels.isEmpty ? nothing : drawn) + ["</svg>\n"]).joined(separator: "\n")
  }

  private static let style = """
    <style>
    text { fill: #24292f; font: 12px system-ui, sans-serif }
    .title { font-size: 15px; font-weight: 600 }
    .panel { font-weight: 600 }
    .data { fill: none; stroke: #8c959f; stroke-width: 1 }
    .legend { fill: none }
    .grid { stroke: #d8dee4; stroke-width: 1 }
    .axis { stroke: #24292f; stroke-width: 1 }
    \(ChartStyle.rules)
    \(ChartStyle.colours(isDark: false))
    @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .data { stroke: #6e7681 }
    .grid { stroke: #30363d }
    .axis { stroke: #e6edf3 }
    \(ChartStyle.colours(isDark: true))
    }
    </style>
    """
}
