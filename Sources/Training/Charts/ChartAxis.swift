import AttentionCLibrary
import AttentionTensors

/// An axis of a chart: its title, its marks, and the position of values on it.
public struct ChartAxis: Sendable {
  let title: String
  /// The marked values, ascending, with their labels.
  let marks: [Mark]
  private let first: Double
  private let last: Double
  private let isLogarithmic: Bool

  struct Mark {
    let value: Double
    let label: String
  }

  /// A linear axis with marks at round numbers that cover the range.
  ///
  /// - Parameters:
  ///   - title: the quantity and its unit.
  ///   - low: the lowest value to show.
  ///   - high: the highest value to show.
  ///   - count: approximate number of marks.
  ///   - wholeNumbers: whether marks are integers only.
  public static func linear(
    _ title: String, from low: Double, to high: Double, count: Int, wholeNumbers: Bool = false
  ) -> ChartAxis {
    let ticks = AxisTicks(from: low, to: high, count: count, wholeNumbers: wholeNumbers)
    return ChartAxis(
      title: title, marks: ticks.values.map { Mark(value: $0, label: ticks.label($0)) },
      first: ticks.first, last: ticks.last, isLogarithmic: false)
  }

  /// A logarithmic axis with marks at the given positive numbers.
  public static func logarithmic(_ title: String, marks: [Int]) -> ChartAxis {
    let sorted = Set(marks.filter { $0 > 0 }).sorted()
    let first = Double(sorted.first ?? 1)
    return ChartAxis(
      title: title, marks: sorted.map { Mark(value: Double($0), label: "\($0)") }, first: first,
      last: max(Double(sorted.last ?? 1), 2 * first), isLogarithmic: true)
  }

  /// A logarithmic axis whose ends are once, twice or five times a power of ten. Such numbers are marked if
  /// they are few, otherwise only the powers of ten.
  ///
  /// - Parameters:
  ///   - title: the quantity and its unit.
  ///   - low: the lowest value to show, above 0.
  ///   - high: the highest value to show.
  public static func logarithmic(_ title: String, from low: Double, to high: Double) -> ChartAxis {
    let low = drawable(low)
    let high = max(drawable(high), low)
    let factors = [1.0, 2, 5]
    let steps = (Int(floor(log10(low)))...Int(ceil(log10(high))) + 1).flatMap { power in
      factors.map { factor in
        // A label such as 0.02 has as many digits as its power of ten.
        let value = factor * pow(10, Double(power))
        return (
          isPower: factor == 1, mark: Mark(value: value, label: value.text(digits: max(0, -power)))
        )
      }
    }
    let start = steps.lastIndex { $0.mark.value <= low * (1 + rounding) } ?? 0
    let end = steps.firstIndex { $0.mark.value >= high * (1 - rounding) } ?? steps.count - 1
    let shown = steps[start...max(end, start + 1)]
    let mostMarks = 9
    let marked = shown.count <= mostMarks ? Array(shown) : shown.filter(\.isPower)
    return ChartAxis(
      title: title, marks: marked.map(\.mark), first: steps[start].mark.value,
      last: steps[max(end, start + 1)].mark.value, isLogarithmic: true)
  }

  /// Tolerance for rounding in powers of ten.
  private static let rounding = 1e-9

  /// The number, limited to positive values that a logarithmic axis can show.
  private static func drawable(_ value: Double) -> Double {
    let (least, most) = (1e-12, 1e12)
    return value.isNaN ? 1 : min(max(value, least), most)
  }

  /// The position of a value between the start of the axis, 0, and its end, 1.
  func fraction(of value: Double) -> Double {
    isLogarithmic
      ? log(max(value, .leastNormalMagnitude) / first) / log(last / first)
      : (AxisTicks.drawable(value) - first) / (last - first)
  }
}
