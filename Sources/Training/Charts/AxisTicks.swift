import AttentionCLibrary
import AttentionTensors

/// Round numbers along an axis.
struct AxisTicks {
  /// Multiples of 1, 2 or 5 times a power of ten; the first at most the lowest value, the last at least the
  /// highest.
  let values: [Double]
  /// Digits after the point that distinguish adjacent ticks.
  let digits: Int

  var first: Double { values[0] }
  var last: Double { values[values.count - 1] }

  /// - Parameters:
  ///   - count: approximate number of ticks.
  ///   - wholeNumbers: whether ticks are integers only.
  init(from low: Double, to high: Double, count: Int, wholeNumbers: Bool = false) {
    let (low, high) = (Self.drawable(low), Self.drawable(high))
    // Numbers equal in all but the last digits leave no room for a tick in between.
    let leastRange = max(1e-6, max(abs(low), abs(high)) * 1e-9)
    let rough = max(high - low, leastRange) / Double(max(1, count))
    let power = pow(10, floor(log10(rough)))
    let nice = [1.0, 2, 5, 10].first { $0 * power >= rough } ?? 10
    let step = wholeNumbers ? max(1, nice * power) : nice * power
    let start = Int(floor(low / step + 1e-9))
    let end = max(start + 1, Int(ceil(high / step - 1e-9)))
    values = (start...end).map { Double($0) * step }
    digits = wholeNumbers ? 0 : max(0, -Int(floor(log10(step) + 1e-9)))
  }

  /// The number, limited to what an axis can show.
  static func drawable(_ value: Double) -> Double {
    let most = 1e100
    return value.isNaN ? 0 : min(max(value, -most), most)
  }

  /// The position of a value between the first tick, 0, and the last, 1.
  func fraction(of value: Double) -> Double { (Self.drawable(value) - first) / (last - first) }

  func label(_ value: Double) -> String { value.text(digits: digits) }
}
