import AttentionTensors

/// One way to compute the task of a race.
struct Contender {
  let kernel: String
  /// Computes everything once and returns all results.
  let run: () throws -> [Tensor]
}

/// The task of a race: its size, for the table.
struct RaceTask {
  /// Such as `softmax forward`.
  var operation: String
  var pass: Pass
  var dtype: DType
  var batch = 1
  var length: Int
  var heads: Int
  var dimension: Int
  /// Floating-point operations of the mathematical definition, whatever a kernel does; or what ``unit`` counts.
  var operations: Double
  var unit = RateUnit.operations

  /// What a rate counts; each has its own ceiling.
  enum RateUnit: String, Encodable {
    /// Compared with multiply-adds in registers.
    case operations = "GFLOP/s"
    /// Compared with a copy.
    case bytes = "GB/s"
    /// Compared with a loop of exponentials.
    case exponentials = "Gexp/s"
  }

  enum Pass: String, Encodable, CaseIterable {
    case forward
    /// Forward, and the gradients of queries, keys and values.
    case training
  }
}
