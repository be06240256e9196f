import AttentionTensors

/// What was measured of one kernel at one task.
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
  /// The distance between the quartiles, as a share of the median.
  let spread: Double
  let turns: Int
  /// Operations of the mathematics a second, or what ``unit`` counts.
  let operationsPerSecond: Double
  let unit: RaceTask.RateUnit
  /// That, as a share of what the machine does at most.
  let shareOfPeak: Double
  /// The most bytes held at a time, inputs and outputs not counted.
  let extraMemory: Int
  /// How many times as long the unfused computation took; nil where it did not run.
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

  /// The name of the computation that others are compared with.
  static let unfused = "cpu.unfused"
}
