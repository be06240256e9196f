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
