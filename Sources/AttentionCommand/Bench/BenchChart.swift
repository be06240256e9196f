import AttentionTensors
import AttentionTraining

/// The times as a chart: one panel per operator, all with the same axes.
struct BenchChart {
  private let report: BenchReport

  init(_ report: BenchReport) { self.report = report }

  /// Time per token over the length, one line for each kernel and pass measured at several lengths. Only the
  /// first dtype and dimension of an operator are shown.
  func svg() -> String {
    let rows = Self.shown(report.rows)
    let operations = Self.unique(rows.map(\.operation))
    let times = rows.map(Self.microsecondsPerToken)
    let x = ChartAxis.logarithmic("length (tokens)", marks: rows.map(\.length))
    let y = ChartAxis.logarithmic(
      "time per token (µs)", from: times.min() ?? 1, to: times.max() ?? 1)
    // A kernel belongs to one operator: its colour and marks are unique in the whole chart.
    let subjects = Self.unique(rows.map(Self.subject))
    let baselines = subjects.filter { $0.kernel == BenchRow.unfused }
    let others = subjects.filter { $0.kernel != BenchRow.unfused }
    func style(_ line: Line) -> ChartStyle {
      let variant = line.pass == .forward ? 0 : 1
      if let index = baselines.firstIndex(of: line.subject) {
        return .baseline(subject: index, variant: variant)
      }
      return ChartStyle(subject: others.firstIndex(of: line.subject) ?? 0, variant: variant)
    }
    let panels = operations.map { operation in
      let own = rows.filter { $0.operation == operation }
      let lines = Self.unique(own.map(Line.init)).sorted { first, second in
        // The kernels in their order, then the baselines.
        let isBaseline = [first, second].map { $0.subject.kernel == BenchRow.unfused }
        return !isBaseline[0] && isBaseline[1]
      }
      return LineChart.Panel(
        title: BenchTable.subject(of: own), x: x, y: y,
        series: lines.map { line in
          LineChart.Series(
            name: line.name,
            points: own.filter { Line($0) == line }.map {
              (x: Double($0.length), y: Self.microsecondsPerToken($0))
            }, hasDots: true, style: style(line))
        })
    }
    return LineChart(
      title: "Time per token on \(report.machine): lower is faster", panels: panels
    ).svg()
  }

  /// A kernel of an operator.
  private struct Subject: Hashable {
    let operation: String
    let kernel: String
  }

  private struct Line: Hashable {
    let subject: Subject
    let pass: RaceTask.Pass

    init(_ row: BenchRow) {
      subject = BenchChart.subject(row)
      pass = row.pass
    }

    /// The kernel without its device, which is the same for all.
    var name: String {
      let kernel = subject.kernel.split(separator: ".").dropFirst().joined(separator: ".")
      return "\(kernel) \(pass.rawValue)"
    }
  }

  private static func subject(_ row: BenchRow) -> Subject {
    Subject(operation: row.operation, kernel: row.kernel)
  }

  /// The rows that are drawn.
  private static func shown(_ rows: [BenchRow]) -> [BenchRow] {
    let usual = rows.filter { row in
      guard let first = rows.first(where: { $0.operation == row.operation }) else { return false }
      return row.dtype == first.dtype && row.dimension == first.dimension
    }
    let lengths = Dictionary(grouping: usual, by: Line.init)
      .mapValues { Set($0.map(\.length)).count }
    return usual.filter { lengths[Line($0), default: 0] > 1 }
  }

  /// The values without repetitions, in order.
  private static func unique<Value: Hashable>(_ values: [Value]) -> [Value] {
    var seen: Set<Value> = []
    return values.filter { seen.insert($0).inserted }
  }

  private static func microsecondsPerToken(_ row: BenchRow) -> Double {
    let microseconds = 1e6
    return row.seconds * microseconds / Double(row.batch * row.length)
  }
}

extension BenchReport {
  /// A description of the machine.
  var machine: String {
    device == "cpu" ? "\(threads) threads, \(instructionSet)" : device
  }
}
