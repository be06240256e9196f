import AttentionOperators
import AttentionTensors

/// Races of exact attention: all kernels except the reference.
struct ExactBench {
  let isCosine: Bool
  let isCausal: Bool
  let scale: BenchScale

  func contenders(_ task: RaceTask) throws -> [Contender] {
    let shape: Shape = [task.batch, task.length, task.heads, task.dimension]
    let inputs = try scale.place(
      ["queries", "keys", "values", "output_gradient"].map { name in
        var generator = Philox(seed: 0, label: name)
        return try Tensor.normal(shape, using: &generator, dtype: task.dtype)
      })
    let similarity: Similarity = isCosine ? .cosine() : .dotProduct()
    let mask = AttentionMask(isCausal: isCausal)
    let needsGradient = task.pass == .training
    let able = try OperatorCall<ExactAttention>(
      queries: inputs[0], keys: inputs[1], values: inputs[2], similarity: similarity, mask: mask
    ).explanation(needsGradient: needsGradient).candidates.filter {
      $0.objection == nil && !$0.kernel.hasSuffix("reference")
    }
    return able.map { candidate in
      Contender(kernel: candidate.kernel) {
        let sources = needsGradient ? inputs[..<3].map { $0.tracked() } : Array(inputs[..<3])
        let output = try attention(
          queries: sources[0], keys: sources[1], values: sources[2], similarity: similarity,
          mask: mask, kernel: candidate.kernel
        ).output
        guard needsGradient else { return [output] }
        return try [output.detached()] + output.gradients(of: sources, seed: inputs[3])
      }
    }
  }

  /// Two matrix products forward, five backward; a multiply-add counts as two operations.
  func task(_ pass: RaceTask.Pass, _ dtype: DType, length: Int, dimension: Int) -> RaceTask {
    let pairs = isCausal ? length * (length + 1) / 2 : length * length
    let products = pass == .forward ? 2 : 7
    let (batch, heads) = (scale.batch(length: length), scale.heads(dimension: dimension))
    return RaceTask(
      operation: isCosine ? "cosine" : "softmax", pass: pass, dtype: dtype, batch: batch,
      length: length, heads: heads, dimension: dimension,
      operations: 2 * Double(batch * heads) * Double(pairs) * Double(products * dimension))
  }
}
