import Tensors

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
}
