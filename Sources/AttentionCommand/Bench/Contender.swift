import AttentionTensors

/// One way to compute what is raced for.
struct Contender {
  let kernel: String
  /// Computes everything once and returns all results.
  let run: () throws -> [Tensor]
}

/// What contenders compute: the size of it, for the table.
struct RaceTask {
  /// As `softmax forward`.
  var operation: String
  var pass: Pass
  var dtype: DType
  var batch = 1
  var length: Int
  var heads: Int
  var dimension: Int
  /// Floating-point operations of the mathematics, whatever a kernel does; or what ``unit`` counts.
  var operations: Double
  var unit = RateUnit.operations

  /// What a rate counts, and with what it is compared.
  enum RateUnit: String, Encodable {
    /// Of multiply-adds in registers.
    case operations = "GFLOP/s"
    /// Of a copy.
    case bytes = "GB/s"
    /// Of a loop of exponentials.
    case exponentials = "Gexp/s"
  }

  enum Pass: String, Encodable, CaseIterable {
    case forward
    /// Forward, and the gradients of queries, keys and values.
    case training
  }
}
