import AttentionTensors

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
