import AttentionTensors
import AttentionTraining

/// The table of one operator, pass, dtype and dimension.
struct BenchTable {
  private let rows: [BenchRow]

  init(_ rows: [BenchRow]) { self.rows = rows }

  var text: String {
    guard let first = rows.first else { return "" }
    let isLinear = rows.contains { $0.growth != nil }
    var table = TextTable([
      "length": .right, "kernel": .left, "time": .right, "spread": .right,
      first.unit.rawValue: .right,
      "of peak": .right, "extra memory": .right, "unfused/this": .right,
      isLinear ? "growth" : "": .right,
    ])
    for row in rows {
      table.append([
        "\(row.length)", row.kernel, Quantity.seconds(row.seconds), Self.percent(row.spread),
        Quantity.digits(row.operationsPerSecond * 1e-9), Self.percent(row.shareOfPeak),
        Quantity.bytes(row.extraMemory), row.speedup.map { $0.text(digits: 2) } ?? "-",
        row.growth.map { $0.text(digits: 2) } ?? "",
      ])
    }
    let title = Self.subject(of: rows, pass: first.pass)
    return ([title] + table.lines()).joined(separator: "\n")
  }

  /// The title of rows of one operator, dtype and dimension and, if given, one pass.
  static func subject(of rows: [BenchRow], pass: RaceTask.Pass? = nil) -> String {
    guard let first = rows.first else { return "" }
    let width =
      first.unit == .operations
      ? "\(first.heads) heads of \(first.dimension)" : "\(first.dimension) channels"
    let sequences = rows.contains { $0.batch > 1 } ? ", \(first.batch * first.length) tokens" : ""
    let name = first.operation + (pass.map { " \($0.rawValue)" } ?? "")
    return "\(name), \(first.dtype.rawValue), \(width)\(sequences)"
  }

  private static func percent(_ share: Double) -> String { (share * 100).text(digits: 0) + " %" }
}

/// The measurements of one kernel at one task.
struct BenchRow: Encodable {
  let operation: String
  let pass: RaceTask.Pass
  let dtype: DType
  let batch: Int
  let length: Int
  let heads: Int
  let dimension: Int
  let kernel: String
  /// The median.
  let seconds: Double
  /// The interquartile range as a fraction of the median.
  let spread: Double
  let turns: Int
  /// Operations of the mathematical definition per second, or the rate that ``unit`` counts.
  let operationsPerSecond: Double
  let unit: RaceTask.RateUnit
  /// The rate as a fraction of the measured ceiling.
  let shareOfPeak: Double
  /// The most bytes held at once, without inputs and outputs.
  let extraMemory: Int
  /// The time of the unfused computation divided by this one's; nil if it did not run.
  var speedup: Double?
  /// The time divided by that of linear growth from the shortest length; nil for exact attention.
  var growth: Double?

  init(_ task: RaceTask, kernel: String, seconds: [Double], extraMemory: Int, peak: Double) {
    let sorted = seconds.sorted()
    let median = sorted[sorted.count / 2]
    operation = task.operation
    pass = task.pass
    dtype = task.dtype
    batch = task.batch
    length = task.length
    heads = task.heads
    dimension = task.dimension
    self.kernel = kernel
    self.seconds = median
    spread = (sorted[sorted.count * 3 / 4] - sorted[sorted.count / 4]) / median
    turns = sorted.count
    operationsPerSecond = task.operations / median
    unit = task.unit
    shareOfPeak = task.operations / median / peak
    self.extraMemory = extraMemory
  }

  /// The kernel that others are compared with.
  static let unfused = "cpu.unfused"
}
