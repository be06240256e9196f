/// How often a number of seconds fell into each of some ranges, as Prometheus has it.
struct Histogram: Sendable {
  /// The upper bounds of the ranges, in seconds: from half a millisecond, each at most 2.5 times the one before.
  static let bounds: [Double] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
  ]

  private var counts = [Int](repeating: 0, count: bounds.count)
  private(set) var count = 0
  private(set) var sum = 0.0

  mutating func add(_ duration: Duration) {
    let seconds = duration / .seconds(1)
    count += 1
    sum += seconds
    if let index = Self.bounds.firstIndex(where: { seconds <= $0 }) { counts[index] += 1 }
  }

  /// How many were at most each bound.
  var cumulative: [Int] {
    var sum = 0
    return counts.map {
      sum += $0
      return sum
    }
  }
}
