import AttentionCLibrary

/// One axis of a chart: what it measures, its marks, and where a number lies on it.
public struct ChartAxis: Sendable {
  let title: String
  /// The numbers that are marked, ascending, with their labels.
  let marks: [Mark]
  private let first: Double
  private let last: Double
  private let isLogarithmic: Bool

  struct Mark {
    let value: Double
    let label: String
  }

  /// Even distances for even differences, marks at round numbers that cover the range.
  ///
  /// - Parameters:
  ///   - title: what is measured, with its unit.
  ///   - low: the least number to be shown.
  ///   - high: the greatest number to be shown.
  ///   - count: about how many marks.
  ///   - wholeNumbers: whether marks stand at whole numbers only.
  public static func linear(
    _ title: String, from low: Double, to high: Double, count: Int, wholeNumbers: Bool = false
  ) -> ChartAxis {
    let ticks = AxisTicks(from: low, to: high, count: count, wholeNumbers: wholeNumbers)
    return ChartAxis(
      title: title, marks: ticks.values.map { Mark(value: $0, label: ticks.label($0)) },
      first: ticks.first, last: ticks.last, isLogarithmic: false)
  }

  /// Even distances for even ratios, marks at the given positive numbers.
  public static func logarithmic(_ title: String, marks: [Int]) -> ChartAxis {
    let sorted = Set(marks.filter { $0 > 0 }).sorted()
    let first = Double(sorted.first ?? 1)
    return ChartAxis(
      title: title, marks: sorted.map { Mark(value: Double($0), label: "\($0)") }, first: first,
      last: max(Double(sorted.last ?? 1), 2 * first), isLogarithmic: true)
  }

  /// Where a value lies between the first mark, 0, and the last, 1.
  func fraction(of value: Double) -> Double {
    isLogarithmic
      ? log(max(value, .leastNormalMagnitude) / first) / log(last / first)
      : (AxisTicks.drawable(value) - first) / (last - first)
  }
}
