import Attention
import Tensors

/// Which races are run, and the report of all of them.
struct BenchPlan {
  let operations: [OperatorName]
  let isCausal: Bool
  let isQuick: Bool

  /// Seconds that a race takes, unless its slowest kernel takes longer.
  private var budget: Double { isQuick ? 0.05 : 0.6 }
  private var exactLengths: [Int] {
    isQuick ? [128, 512] : [128, 256, 512, 1024, 2048, 4096, 8192]
  }
  private var linearLengths: [Int] {
    isQuick ? [1024, 4096] : [1024, 4096, 16_384, 65_536]
  }
  static let usualDimension = 64
  /// Where another dimension and other dtypes are measured too.
  private var otherLength: Int { isQuick ? 512 : 1024 }
  private static let otherDimension = 128

  /// A table of the report: one operator, pass, dtype and dimension, over lengths.
  private struct Part {
    let operation: OperatorName
    let pass: RaceTask.Pass
    var dtype = DType.float32
    var dimension = BenchPlan.usualDimension
    let lengths: [Int]
  }

  private var parts: [Part] {
    operations.flatMap { operation in
      RaceTask.Pass.allCases.flatMap { pass in
        let main = Part(
          operation: operation, pass: pass,
          lengths: operation.isExact ? exactLengths : linearLengths)
        let variants: [(DType, Int)] = [
          (.float32, Self.otherDimension), (.bfloat16, Self.usualDimension),
          (.float16, Self.usualDimension),
        ]
        return [main]
          + variants.map { dtype, dimension in
            Part(
              operation: operation, pass: pass, dtype: dtype, dimension: dimension,
              lengths: [otherLength])
          }
      }
    }
  }

  /// Runs everything; `show` is given each part as soon as it is done.
  func run(_ show: ([BenchRow]) -> Void) throws -> BenchReport {
    StandardError.progress("measuring the peak")
    var report = BenchReport(peak: PeakRate.measure())
    for part in parts {
      var rows: [BenchRow] = []
      report.peak = max(report.peak, PeakRate.measure())
      for length in part.lengths {
        let task = task(part, length)
        StandardError.progress("\(task.operation) \(task.pass.rawValue) of \(length)")
        let contenders = try contenders(part, task)
        rows += try Race(budget: budget).run(contenders, task, peak: report.peak)
      }
      Self.compare(&rows)
      show(rows)
      report.rows += rows
    }
    return report
  }

  private func task(_ part: Part, _ length: Int) -> RaceTask {
    part.operation.isExact
      ? exact(part).task(part.pass, part.dtype, length: length, dimension: part.dimension)
      : LinearBench().task(part.pass, part.dtype, length: length, dimension: part.dimension)
  }

  private func contenders(_ part: Part, _ task: RaceTask) throws -> [Contender] {
    try part.operation.isExact ? exact(part).contenders(task) : LinearBench().contenders(task)
  }

  private func exact(_ part: Part) -> ExactBench {
    ExactBench(isCosine: part.operation == .cosine, isCausal: isCausal)
  }

  /// Adds what follows from several rows: the ratio to the unfused computation, and the growth.
  private static func compare(_ rows: inout [BenchRow]) {
    let isLinear = rows.first?.operation == OperatorName.linear.rawValue
    for index in rows.indices {
      let row = rows[index]
      let unfused = rows.first { $0.length == row.length && $0.kernel == BenchRow.unfused }
      rows[index].speedup = unfused.map { $0.seconds / row.seconds }
      guard isLinear, let first = rows.first(where: { $0.kernel == row.kernel }) else { continue }
      rows[index].growth =
        row.seconds / first.seconds * Double(first.length) / Double(row.length)
    }
  }
}

/// All that a benchmark measured, with the machine it was measured on.
struct BenchReport: Encodable {
  let instructionSet = InstructionSet.current.rawValue
  let threads = Threads.count
  /// Float32 operations a second in registers, all threads.
  var peak: Double
  var rows: [BenchRow] = []

  init(peak: Double) { self.peak = peak }
}
