import SwiftAttention

/// Causal softmax attention in float32 on the processor, query by query: forward only.
public struct RowsKernel: ExactKernel {
  public let name = "cpu.rows"

  public init() {}

  public func objection(to problem: ExactProblem) -> Objection? {
    if problem.dtype != .float32 {
      return Objection("needs float32 inputs, was \(problem.dtype.rawValue)")
    }
    if problem.needsGradient { return Objection("computes no gradients") }
    if problem.keyValueHeads != problem.heads {
      return Objection("\(problem.keyValueHeads) key/value heads; it needs one a query head")
    }
    let isPlain =
      problem.isCausal && !problem.isCosine && problem.window == nil && !problem.hasKeyMask
      && problem.packedSequences == nil && problem.terms.isEmpty
    if !isPlain { return Objection("supports no option but the causal mask") }
    return problem.queryLength == problem.keyLength
      ? nil : Objection("unequal lengths; it needs as many keys as queries")
  }

  public func cost(of problem: ExactProblem) -> Cost {
    let rows = Double(problem.batch * problem.heads * problem.queryLength)
    let work = rows * Double(problem.keyLength * (problem.keyDimension + problem.valueDimension))
    return Cost(
      operations: 2 * work, bytes: 4 * work, extraMemory: 4 * problem.keyLength, efficiency: 0.05,
      overhead: 1e-5, pieces: problem.batch * problem.heads)
  }

  public func forward(_ inputs: ExactArguments) throws -> ExactOutputs {
    let queries = try inputs.queries.permuted([0, 2, 1, 3])  // [b,h,t,k]
    let keys = try inputs.keys.permuted([0, 2, 1, 3])
    let values = try inputs.values.permuted([0, 2, 1, 3])
    var outputs: [Tensor] = []
    var logSums: [Tensor] = []
    for row in 0..<inputs.problem.queryLength {
      let visible = try keys.sliced(2, 0..<row + 1)
      let query = try queries.sliced(2, row..<row + 1)
      let scores = try query.matmul(visible.transposed()) * inputs.factor  // [b,h,1,row+1]
      let highest = try scores.topK(1).values  // [b,h,1,1]
      let weights = try (scores - highest).exponential()
      let sum = try weights.sum([-1], keepsAxes: true)
      outputs.append(try weights.matmul(values.sliced(2, 0..<row + 1)) / sum)
      logSums.append(try (sum.logarithm() + highest).squeezed(-1))
    }
    return [
      .output: try Tensor.concatenated(outputs, 2).permuted([0, 2, 1, 3]).contiguous(),
      .logSumExp: try Tensor.concatenated(logSums, 2),
    ]
  }

  public func backward(
    _ inputs: ExactArguments, _ outputs: ExactOutputs, _ incoming: ExactOutputs
  ) throws -> ExactGradients {
    throw AttentionError.kernelObjects(name, Objection("computes no gradients"))
  }
}
