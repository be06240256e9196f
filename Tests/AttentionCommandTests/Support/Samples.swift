import AttentionTensors

/// Inputs of the operators.
enum Samples {
  static func normal(_ shape: Shape, _ label: String, dtype: DType = .float32) throws -> Tensor {
    var generator = Philox(seed: 0, label: label)
    return try .normal(shape, using: &generator, dtype: dtype)
  }

  static func exact(
    batch: Int = 2, queries: Int = 5, keys: Int = 7, heads: Int = 4, keyHeads: Int = 2,
    dtype: DType = .float32
  ) throws -> [String: Tensor] {
    [
      "queries": try normal([batch, queries, heads, 8], "queries", dtype: dtype),
      "keys": try normal([batch, keys, keyHeads, 8], "keys", dtype: dtype),
      "values": try normal([batch, keys, keyHeads, 6], "values", dtype: dtype),
    ]
  }

  static func linear(length: Int = 9) throws -> [String: Tensor] {
    [
      "queries": try normal([1, length, 2, 8], "queries"),
      "keys": try normal([1, length, 2, 8], "keys"),
      "values": try normal([1, length, 4, 6], "values"),
      "decay": try -normal([1, length, 4], "decay").absolute(),
    ]
  }

  /// The inputs of `operation`.
  static func usual(_ operation: String) throws -> [String: Tensor] {
    switch operation {
    case "linear": try linear()
    case "scan": try scan()
    default: try exact()
    }
  }

  static func scan(length: Int = 9) throws -> [String: Tensor] {
    [
      "inputs": try normal([1, length, 5], "inputs"),
      "decay": try -normal([1, length, 5], "decay").absolute(),
    ]
  }

  static func selectiveScan(length: Int = 9) throws -> [String: Tensor] {
    [
      "inputs": try normal([1, length, 5], "inputs"),
      "step": try normal([1, length, 5], "step"),
      "state_matrix": try -normal([5, 3], "matrix").absolute(),
      "input_matrix": try normal([1, length, 3], "input"),
      "output_matrix": try normal([1, length, 3], "output"),
      "skip": try normal([5], "skip"),
      "step_bias": try normal([5], "bias"),
    ]
  }
}
