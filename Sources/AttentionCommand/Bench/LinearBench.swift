import AttentionOperators
import AttentionTensors

/// Races of linear attention with a decay per token: all kernels except the reference, and for the additive
/// update the unfused matrix form.
struct LinearBench {
  /// The name of the delta rule's rows.
  static let deltaOperation = "linear, gated delta"

  /// Whether the update is the delta rule, with normalised keys.
  let isDelta: Bool
  let scale: BenchScale
  /// The matrix form takes time and memory quadratic in the length.
  private static let longestUnfused = 4096

  func contenders(_ task: RaceTask) throws -> [Contender] {
    let shape: Shape = [task.batch, task.length, task.heads, task.dimension]
    let inputs = try scale.place(
      ["queries", "keys", "values", "output_gradient"].map { name in
        var generator = Philox(seed: 0, label: name)
        return try Tensor.normal(shape, using: &generator, dtype: task.dtype)
      })
    var generator = Philox(seed: 0, label: "decay")
    let gates: Shape = [task.batch, task.length, task.heads]
    let decay = try Tensor.uniform(gates, from: -0.2, to: 0, using: &generator)
      .moved(to: scale.device)
    let beta = try Tensor.uniform(gates, from: 0, to: 1, using: &generator)
      .moved(to: scale.device)
    let needsGradient = task.pass == .training
    func contender(
      _ name: String, _ output: @escaping (_ sources: [Tensor]) throws -> Tensor
    ) -> Contender {
      Contender(kernel: name) {
        let all = Array(inputs[..<3]) + [decay] + (isDelta ? [beta] : [])
        let sources = needsGradient ? all.map { $0.tracked() } : all
        let result = try output(sources)
        guard needsGradient else { return [result] }
        return try [result.detached()] + result.gradients(of: sources, seed: inputs[3])
      }
    }
    let able = try OperatorCall<LinearAttention>(
      queries: inputs[0], keys: inputs[1], values: inputs[2], decay: decay,
      update: isDelta ? .delta(beta: beta) : .additive, normalizesQueriesAndKeys: isDelta
    ).explanation(needsGradient: needsGradient).candidates.filter {
      $0.objection == nil && !$0.kernel.hasSuffix("reference")
    }
    var contenders = able.map { candidate in
      contender(candidate.kernel) { sources in
        try linearAttention(
          queries: sources[0], keys: sources[1], values: sources[2], decay: sources[3],
          update: isDelta ? .delta(beta: sources[4]) : .additive,
          normalizesQueriesAndKeys: isDelta, kernel: candidate.kernel
        ).output
      }
    }
    if !isDelta, task.length <= Self.longestUnfused, scale.device == .cpu {
      let isLater = try Self.isLater(task.length)
      contenders.append(
        contender(BenchRow.unfused) { try Self.matrixForm($0, isLater: isLater) })
    }
    return contenders
  }

  /// (Q Kᵀ ⊙ D) V with D_ij = exp(G_i − G_j) for j ≤ i, G the cumulative sum of the decay.
  private static func matrixForm(_ sources: [Tensor], isLater: Tensor) throws -> Tensor {
    let (q, k, v) = (
      try sources[0].permuted([0, 2, 1, 3]), try sources[1].permuted([0, 2, 1, 3]),
      try sources[2].permuted([0, 2, 1, 3])
    )
    let scale = 1 / Double(q.shape[3]).squareRoot()
    let sums = try isLater.cast(to: .float32).matmul(sources[3]).permuted([0, 2, 1])
    let exponents = try Tensor.select(
      isLater, sums.unsqueezed(3) - sums.unsqueezed(2), .full([], -.infinity))
    let scores = try q.matmul(k.transposed()) * scale
    let weights = try scores * exponents.exponential().cast(to: q.dtype)
    return try weights.matmul(v).permuted([0, 2, 1, 3])
  }

  /// bool [length, length]: whether the column is at or before the row.
  private static func isLater(_ length: Int) throws -> Tensor {
    let places = try Tensor.range(length)
    return try (places + Tensor([Int32(1)], [])).reshaped([length, 1]).isGreater(than: places)
  }

  /// The recurrence's own operations: the update of the state and its products with the query and, for erasing
  /// updates, the key; a multiply-add counts as two, the backward pass as twice the forward pass.
  func task(_ pass: RaceTask.Pass, _ dtype: DType, length: Int, dimension: Int) -> RaceTask {
    let passes = pass == .forward ? 1 : 3
    let stateOperations = isDelta ? 6 : 4
    let (batch, heads) = (scale.batch(length: length), scale.heads(dimension: dimension))
    return RaceTask(
      operation: isDelta ? Self.deltaOperation : OperatorName.linear.rawValue, pass: pass,
      dtype: dtype, batch: batch, length: length, heads: heads, dimension: dimension,
      operations: Double(batch * length * heads)
        * Double(stateOperations * dimension * dimension * passes))
  }
}
