import AttentionTensors

/// A panel of a ``LineChart``: axes and lines in a box, with the legend in a second box on its right.
struct ChartPanel {
  /// Sizes in pixels, the same for all panels of a chart.
  struct Size {
    /// Size of the plot, the box with the lines.
    let width: Double
    let height: Double
    let legendWidth: Double

    /// - Parameters:
    ///   - width: of the plot.
    ///   - height: the least height of the plot, which grows to fit the legend.
    ///   - panels: all panels drawn in this size.
    init(width: Double, height: Double, of panels: [LineChart.Panel]) {
      let series = panels.flatMap(\.series)
      let longest = series.map(\.name.count).max() ?? 0
      let rows = panels.map(\.series.count).max() ?? 0
      self.width = width
      self.height = max(height, Double(rows) * Place.legendRow)
      legendWidth = Place.swatch + Double(longest) * Place.character + Place.gap
    }

    /// Including axes, titles and the legend.
    var outerWidth: Double { Place.left + width + Place.gap + legendWidth + Place.gap }
    var outerHeight: Double { Place.top + height + Place.bottom }
  }

  /// Distances in pixels.
  private enum Place {
    static let left = 58.0
    static let top = 26.0
    static let bottom = 58.0
    static let gap = 16.0
    static let legendRow = 20.0
    /// A sample line in the legend, including its distance from the name.
    static let swatch = 44.0
    /// Estimated width of a character, which few exceed.
    static let character = 7.0
    /// Labels closer than this would overlap.
    static let labelDistance = 42.0
  }

  private let panel: LineChart.Panel
  private let styles: [ChartStyle]
  private let size: Size
  /// Position of the plot.
  private let left: Double
  private let top: Double

  /// - Parameters:
  ///   - panel: the contents.
  ///   - styles: one per line.
  ///   - size: shared by all panels.
  ///   - left: left edge of the panel, including its axis.
  ///   - top: top edge of the panel, including its title.
  init(
    _ panel: LineChart.Panel, styles: [ChartStyle], size: Size, left: Double, top: Double
  ) {
    self.panel = panel
    self.styles = styles
    self.size = size
    self.left = left + Place.left
    self.top = top + Place.top
  }

  private var floor: Double { top + size.height }
  private var edge: Double { left + size.width }

  func lines() -> [String] {
    let title = Self.escaped(panel.title)
    return ["<text class=\"panel\" x=\"\(left)\" y=\"\(top - 10)\">\(title)</text>"]
      + verticalAxis() + horizontalAxis()
      + [Self.box("data", left, top, size.width, size.height)]
      + panel.series.indices.flatMap(line) + legend()
  }

  private static func box(
    _ name: String, _ x: Double, _ y: Double, _ width: Double, _ height: Double
  ) -> String {
    "<rect class=\"\(name)\" x=\"\(x)\" y=\"\(y)\" width=\"\(width)\" height=\"\(height)\"/>"
  }

  private func across(_ value: Double) -> Double {
    left + panel.x.fraction(of: value) * size.width
  }

  private func down(_ value: Double) -> Double {
    top + (1 - panel.y.fraction(of: value)) * size.height
  }

  private func verticalAxis() -> [String] {
    let middle = top + size.height / 2
    return panel.y.marks.flatMap { mark -> [String] in
      let place = Self.text(down(mark.value))
      return [
        "<line class=\"grid\" x1=\"\(left)\" y1=\"\(place)\" x2=\"\(edge)\" y2=\"\(place)\"/>",
        """
        <text x="\(left - 8)" y="\(place)" dy="0.35em" text-anchor="end">\(mark.label)</text>
        """,
      ]
    } + [
      """
      <text transform="translate(\(left - Place.left + 12) \(middle)) rotate(-90)" \
      text-anchor="middle">\(Self.escaped(panel.y.title))</text>
      """
    ]
  }

  private func horizontalAxis() -> [String] {
    // Every mark has a tick line; labels that would overlap the previous one are left out.
    var lastLabel = -Double.infinity
    return panel.x.marks.flatMap { mark -> [String] in
      let place = across(mark.value)
      let x = Self.text(place)
      let tick = """
        <line class="axis" x1="\(x)" y1="\(floor)" x2="\(x)" y2="\(floor + 5)"/>
        """
      guard place - lastLabel >= Place.labelDistance else { return [tick] }
      lastLabel = place
      return [
        tick, "<text x=\"\(x)\" y=\"\(floor + 19)\" text-anchor=\"middle\">\(mark.label)</text>",
      ]
    } + [
      """
      <text x="\(left + size.width / 2)" y="\(floor + 38)" text-anchor="middle">\
      \(Self.escaped(panel.x.title))</text>
      """
    ]
  }

  private func line(_ index: Int) -> [String] {
    let (series, style) = (panel.series[index], styles[index])
    let places = series.points.map { (x: Self.text(across($0.x)), y: Self.text(down($0.y))) }
    let path = places.map { "\($0.x),\($0.y)" }.joined(separator: " ")
    let marked = series.hasDots || places.count == 1 ? places : []
    return ["<polyline class=\"\(style.lineClasses)\" points=\"\(path)\"/>"]
      + marked.map { Self.mark(style, $0.x, $0.y) }
  }

  private static func mark(_ style: ChartStyle, _ x: String, _ y: String) -> String {
    """
    <path class="\(style.markClasses)" transform="translate(\(x) \(y))" d="\(style.markPath)"/>
    """
  }

  /// The names of the lines, to the right of the plot.
  private func legend() -> [String] {
    let x = edge + Place.gap
    let height = Double(panel.series.count) * Place.legendRow
    return [Self.box("legend", x, top, size.legendWidth, height)]
      + panel.series.indices.flatMap { index -> [String] in
        let (series, style) = (panel.series[index], styles[index])
        let y = top + (Double(index) + 0.5) * Place.legendRow
        let end = x + Place.swatch - 8
        let swatch = """
          <line class="\(style.lineClasses)" x1="\(x)" y1="\(y)" x2="\(end)" y2="\(y)"/>
          """
        let middle = Self.text((x + end) / 2)
        let marks = series.hasDots ? [Self.mark(style, middle, Self.text(y))] : []
        return [swatch] + marks + [
          """
          <text x="\(x + Place.swatch)" y="\(y)" dy="0.35em">\(Self.escaped(series.name))</text>
          """
        ]
      }
  }

  private static func text(_ place: Double) -> String { place.text(digits: 1) }

  static func escaped(_ text: String) -> String {
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
