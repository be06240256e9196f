import AttentionOperators
import AttentionTensors

/// The races to run, and the report of all of them.
struct BenchPlan {
  let operations: [OperatorName]
  let isCausal: Bool
  let isQuick: Bool
  let device: Device

  private var scale: BenchScale { BenchScale(device: device, isQuick: isQuick) }

  /// Seconds per race, unless its slowest kernel takes longer.
  private var budget: Double { isQuick ? 0.05 : 0.6 }
  static let usualDimension = 64
  private static let otherDimension = 128

  /// A table of the report: one operator, pass, dtype and dimension, over lengths.
  private struct Part {
    let operation: OperatorName
    let pass: RaceTask.Pass
    var dtype = DType.float32
    var dimension = BenchPlan.usualDimension
    var isDelta = false
    let lengths: [Int]
    /// For scans, whether it is the selective one.
    var isSelective = false
  }

  private var parts: [Part] {
    operations.flatMap { operation in
      guard operation != .scan else { return scanParts }
      return RaceTask.Pass.allCases.flatMap { pass in
        let main = Part(
          operation: operation, pass: pass,
          lengths: operation.isExact ? scale.exactLengths : scale.linearLengths)
        let variants: [(DType, Int)] = [
          (.float32, Self.otherDimension), (.bfloat16, Self.usualDimension),
          (.float16, Self.usualDimension),
        ]
        let delta = Part(
          operation: operation, pass: pass, dimension: Self.otherDimension, isDelta: true,
          lengths: isQuick ? [scale.otherLength] : scale.linearLengths)
        return [main] + (operation == .linear ? [delta] : [])
          + variants.map { dtype, dimension in
            Part(
              operation: operation, pass: pass, dtype: dtype, dimension: dimension,
              lengths: [scale.otherLength])
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
            lengths: scale.scanLengths(isSelective: isSelective),
            isSelective: isSelective)
        }
      }
    }
  }

  /// Runs all races; `show` receives each part as soon as it is done.
  func run(_ show: ([BenchRow]) -> Void) throws -> BenchReport {
    StandardError.progress("measuring the peak")
    let timer = try TurnTimer(device)
    let ceilings = BenchCeilings(scale, timer: timer)
    var report = BenchReport(device: device, peak: try ceilings.operations(.float32))
    for part in parts {
      var rows: [BenchRow] = []
      for length in part.lengths {
        let task = task(part, length)
        StandardError.progress("\(task.operation) \(task.pass.rawValue) of \(length)")
        let contenders = try contenders(part, task)
        let peak = try ceilings.rate(task.unit, task.dtype)
        rows += try Race(budget: budget, timer: timer).run(contenders, task, peak: peak)
        report.peak = try ceilings.operations(.float32)
      }
      Self.compare(&rows)
      show(rows)
      report.rows += rows
    }
    return report
  }

  private func task(_ part: Part, _ length: Int) -> RaceTask {
    let (pass, dtype, dimension) = (part.pass, part.dtype, part.dimension)
    return switch part.operation {
    case .softmax, .cosine: exact(part).task(pass, dtype, length: length, dimension: dimension)
    case .linear:
      LinearBench(isDelta: part.isDelta, scale: scale)
        .task(pass, dtype, length: length, dimension: dimension)
    case .scan:
      ScanBench(isSelective: part.isSelective, scale: scale)
        .task(pass, dtype, length: length, channels: dimension)
    }
  }

  private func contenders(_ part: Part, _ task: RaceTask) throws -> [Contender] {
    switch part.operation {
    case .softmax, .cosine: try exact(part).contenders(task)
    case .linear: try LinearBench(isDelta: part.isDelta, scale: scale).contenders(task)
    case .scan: try ScanBench(isSelective: part.isSelective, scale: scale).contenders(task)
    }
  }

  private func exact(_ part: Part) -> ExactBench {
    ExactBench(isCosine: part.operation == .cosine, isCausal: isCausal, scale: scale)
  }

  /// Fills in what compares several rows: the ratio to the unfused computation, and the growth.
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

/// The results of a benchmark and the machine that it ran on.
struct BenchReport: Encodable {
  let device: String
  let instructionSet = InstructionSet.current.rawValue
  let threads = Threads.count
  /// float32 operations per second: on the CPU in registers on all threads, on a GPU in a large matrix
  /// product.
  var peak: Double
  var rows: [BenchRow] = []

  init(device: Device, peak: Double) {
    self.device = "\(device)"
    self.peak = peak
  }
}

/// The sizes of races on a device: two heads fill a CPU, many a GPU.
struct BenchScale {
  let device: Device
  let isQuick: Bool

  private static let gpuTokens = 16_384
  private static let gpuHidden = 2048

  private var isLarge: Bool { device != .cpu && !isQuick }

  func batch(length: Int) -> Int { isLarge ? max(1, Self.gpuTokens / length) : 1 }

  func heads(dimension: Int) -> Int { isLarge ? Self.gpuHidden / dimension : 2 }

  var exactLengths: [Int] {
    if device != .cpu { return isQuick ? [64, 128] : [1024, 4096, 16_384] }
    return isQuick ? [128, 512] : [128, 256, 512, 1024, 2048, 4096, 8192]
  }

  var linearLengths: [Int] {
    if device != .cpu { return isQuick ? [64, 128] : [4096, 16_384] }
    return isQuick ? [1024, 4096] : [1024, 4096, 16_384, 65_536]
  }

  func scanLengths(isSelective: Bool) -> [Int] {
    if device != .cpu { return isQuick ? [64, 128] : [4096, 16_384] }
    return isQuick ? [512, 1024] : isSelective ? [1024, 4096] : [4096, 16_384]
  }

  /// The length at which another dimension and other dtypes are measured.
  var otherLength: Int {
    if device != .cpu { return isQuick ? 64 : 4096 }
    return isQuick ? 512 : 1024
  }

  /// Moves tensors, which are drawn on the CPU, to the device.
  func place(_ tensors: [Tensor]) throws -> [Tensor] {
    try tensors.map { try $0.moved(to: device) }
  }
}
