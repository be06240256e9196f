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
    var isDelta = false
    let lengths: [Int]
    /// Of the scans, whether it is the selective one.
    var isSelective = false
  }

  private var parts: [Part] {
    operations.flatMap { operation in
      guard operation != .scan else { return scanParts }
      return RaceTask.Pass.allCases.flatMap { pass in
        let main = Part(
          operation: operation, pass: pass,
          lengths: operation.isExact ? exactLengths : linearLengths)
        let variants: [(DType, Int)] = [
          (.float32, Self.otherDimension), (.bfloat16, Self.usualDimension),
          (.float16, Self.usualDimension),
        ]
        let delta = Part(
          operation: operation, pass: pass, dimension: Self.otherDimension, isDelta: true,
          lengths: isQuick ? [otherLength] : linearLengths)
        return [main] + (operation == .linear ? [delta] : [])
          + variants.map { dtype, dimension in
            Part(
              operation: operation, pass: pass, dtype: dtype, dimension: dimension,
              lengths: [otherLength])
          }
      }
    }
  }

  private var scanParts: [Part] {
    [false, true].flatMap { isSelective in
      RaceTask.Pass.allCases.flatMap { pass in
        [DType.float32, .bfloat16].map { dtype in
          Part(
            operation: .scan, pass: pass, dtype: dtype,
            dimension: isSelective ? ScanBench.selectiveChannels : ScanBench.channels,
            lengths: isQuick ? [512, 1024] : isSelective ? [1024, 4096] : [4096, 16_384],
            isSelective: isSelective)
        }
      }
    }
  }

  /// Runs everything; `show` is given each part as soon as it is done.
  func run(_ show: ([BenchRow]) -> Void) throws -> BenchReport {
    StandardError.progress("measuring the peak")
    var report = BenchReport(peak: PeakRate.measure())
    var ceilings: [RaceTask.RateUnit: Double] = [:]
    for part in parts {
      var rows: [BenchRow] = []
      report.peak = max(report.peak, PeakRate.measure())
      for length in part.lengths {
        let task = task(part, length)
        StandardError.progress("\(task.operation) \(task.pass.rawValue) of \(length)")
        let contenders = try contenders(part, task)
        if ceilings[task.unit] == nil { ceilings[task.unit] = try ceiling(task.unit) }
        rows += try Race(budget: budget).run(
          contenders, task, peak: ceilings[task.unit] ?? report.peak)
      }
      Self.compare(&rows)
      show(rows)
      report.rows += rows
    }
    return report
  }

  /// What the machine does at most, where that is not the report's peak.
  private func ceiling(_ unit: RaceTask.RateUnit) throws -> Double? {
    switch unit {
    case .operations: nil
    case .bytes: try PeakRate.measureCopy()
    case .exponentials: try PeakRate.measureExponentials()
    }
  }

  private func task(_ part: Part, _ length: Int) -> RaceTask {
    let (pass, dtype, dimension) = (part.pass, part.dtype, part.dimension)
    return switch part.operation {
    case .softmax, .cosine: exact(part).task(pass, dtype, length: length, dimension: dimension)
    case .linear:
      LinearBench(isDelta: part.isDelta)
        .task(pass, dtype, length: length, dimension: dimension)
    case .scan:
      ScanBench(isSelective: part.isSelective)
        .task(pass, dtype, length: length, channels: dimension)
    }
  }

  private func contenders(_ part: Part, _ task: RaceTask) throws -> [Contender] {
    switch part.operation {
    case .softmax, .cosine: try exact(part).contenders(task)
    case .linear: try LinearBench(isDelta: part.isDelta).contenders(task)
    case .scan: try ScanBench(isSelective: part.isSelective).contenders(task)
    }
  }

  private func exact(_ part: Part) -> ExactBench {
    ExactBench(isCosine: part.operation == .cosine, isCausal: isCausal)
  }

  /// Adds what follows from several rows: the ratio to the unfused computation, and the growth.
  private static func compare(_ rows: inout [BenchRow]) {
    let isLinear = rows.first.map { $0.operation != "softmax" && $0.operation != "cosine" } ?? false
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
