import Tensors
import Training

/// The rates in float32 as a picture.
struct BenchChart {
  private let report: BenchReport

  init(_ report: BenchReport) { self.report = report }

  /// GFLOP/s over the length, a line for each kernel and pass that was measured at several lengths.
  func svg() -> String {
    var names: [String] = []
    var points: [String: [(x: Double, y: Double)]] = [:]
    for row in report.rows {
      let kernel = row.kernel.split(separator: ".").dropFirst().joined(separator: ".")
      // Rows of one length, of other dtypes and dimensions, make no line.
      guard row.dtype == .float32, row.dimension == BenchPlan.usualDimension,
        row.unit == .operations
      else { continue }
      let name = "\(row.operation) \(kernel) \(row.pass.rawValue)"
      if points[name] == nil { names.append(name) }
      points[name, default: []].append(
        (x: Double(row.length), y: row.operationsPerSecond * Self.giga))
    }
    let shown = names.filter { points[$0, default: []].count > 1 }
    let highest = shown.flatMap { points[$0, default: []].map(\.y) }.max() ?? 1
    let lengths = shown.flatMap { points[$0, default: []].map { Int($0.x) } }
    return LineChart(
      title: "GFLOP/s, \(report.threads) threads, \(report.instructionSet), "
        + "peak \(Quantity.digits(report.peak * Self.giga))",
      x: .logarithmic("length", marks: lengths),
      y: .linear(
        "GFLOP/s", from: 0, to: highest * (1 + Self.legendRow * Double(shown.count)), count: 6),
      series: shown.map {
        LineChart.Series(name: $0, points: points[$0, default: []], hasDots: true)
      }
    ).svg()
  }

  private static let giga = 1e-9
  /// The legend lies above the lines: the height of one of its rows, as a share of the plot's.
  private static let legendRow = 0.07
}
