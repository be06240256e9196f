/// The style of a line: colour and point marks identify its subject, dashes the variant of it.
///
/// The colours are those of Okabe and Ito, which colour-blind readers can distinguish; each comes with its
/// own mark, so that a chart in grey is readable too.
public struct ChartStyle: Hashable, Sendable {
  let colour: Int
  let dash: Int
  let mark: Int

  /// The style of a variant, such as a pass, of a subject, such as a kernel: unique for 30 subjects in four
  /// variants, or 60 in two.
  public init(subject: Int, variant: Int = 0) {
    let marks = Self.filledMarks.count
    self.init(
      colour: subject % Self.inks.count, mark: subject % marks,
      dash: variant, round: subject / (Self.inks.count * marks))
  }

  /// A grey style for baselines: unique for three subjects in four variants, or six in two.
  public static func baseline(subject: Int = 0, variant: Int = 0) -> ChartStyle {
    let marks = Self.openMarks.count
    return ChartStyle(
      colour: inks.count, mark: filledMarks.count + subject % marks, dash: variant,
      round: subject / marks)
  }

  /// Once colours and marks repeat, the dashes differ.
  private init(colour: Int, mark: Int, dash: Int, round: Int) {
    self.colour = colour
    self.mark = mark
    self.dash = (dash + 2 * round) % Self.dashes.count
  }

  // MARK: Drawing

  /// CSS classes of the line.
  var lineClasses: String { "line colour\(colour) dash\(dash)" }

  /// CSS classes of a point's mark.
  var markClasses: String { "mark\(mark) colour\(colour)" }

  /// SVG path of a point's mark, around the origin.
  var markPath: String { (Self.filledMarks + Self.openMarks)[mark] }

  /// The numbers of colours and marks are coprime, so that their combinations repeat late.
  private static let filledMarks = [
    "M-3.6 0a3.6 3.6 0 1 0 7.2 0a3.6 3.6 0 1 0 -7.2 0Z",  // a circle
    "M-3.3 -3.3H3.3V3.3H-3.3Z",  // a square
    "M0 -4.4L4.2 3.2H-4.2Z",  // a triangle
    "M0 -4.8L4.8 0L0 4.8L-4.8 0Z",  // a diamond
    "M0 4.4L4.2 -3.2H-4.2Z",  // a triangle that points down
  ]
  private static let openMarks = [
    "M-3.6 -3.6L3.6 3.6M-3.6 3.6L3.6 -3.6",  // a cross
    "M-4.6 0H4.6M0 -4.6V4.6",  // a plus
    "M-4.2 0H4.2M-2.1 -3.7L2.1 3.7M-2.1 3.7L2.1 -3.7",  // a star
  ]
  private static let dashes = ["none", "7 4", "1.5 4", "9 3 1.5 3"]

  private struct Ink {
    /// On a light background.
    let light: String
    /// On a dark background.
    let dark: String
  }

  private static let inks = [
    Ink(light: "#0072b2", dark: "#4da6e8"), Ink(light: "#d55e00", dark: "#ff8a3d"),
    Ink(light: "#009e73", dark: "#2fd0a2"), Ink(light: "#cc79a7", dark: "#e79fc6"),
    Ink(light: "#e69f00", dark: "#ffc24d"), Ink(light: "#56b4e9", dark: "#a4dcff"),
  ]
  private static let baselineInk = Ink(light: "#57606a", dark: "#9aa4af")

  /// The CSS rules of all styles, for light backgrounds and, within `@media`, for dark ones.
  static let rules =
    """
    .line { fill: none; stroke-width: 2; stroke-linejoin: round }
    \(dashes.indices.map { ".dash\($0) { stroke-dasharray: \(dashes[$0]) }" }.joined(separator: "\n"))
    \(openMarks.indices.map {
      "path.mark\(filledMarks.count + $0) { fill: none; stroke-width: 1.6 }"
    }.joined(separator: "\n"))
    """

  static func colours(isDark: Bool) -> String {
    (inks + [baselineInk]).enumerated().map { index, ink in
      let colour = isDark ? ink.dark : ink.light
      return ".colour\(index) { stroke: \(colour) } path.colour\(index) { fill: \(colour) }"
    }.joined(separator: "\n")
  }
}
