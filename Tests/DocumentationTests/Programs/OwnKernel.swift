import SwiftAttention

struct RowsExactKernel: ExactKernel {
  let name = "cpu.rows"
}

extension RowsExactKernel {
  func objection(to problem: ExactProblem) -> Objection? {
    if problem.dtype != .float32 {
      return Objection("needs float32 inputs, was \(problem.dtype.rawValue)")
    }
    if problem.needsGradient { return Objection("computes no gradients") }
    if problem.keyValueHeads != problem.heads {
      return Objection("needs one key/value head per query head, was \(problem.keyValueHeads)")
    }
    let isPlain =
      !problem.isCosine && problem.window == nil && !problem.hasKeyMask
      && problem.packedSequences == nil && problem.terms.isEmpty
    if !isPlain { return Objection("supports no option but the causal mask") }
    if problem.isCausal && problem.queryLength != problem.keyLength {
      return Objection("needs as many keys as queries if causal")
    }
    return problem.keyLength > 0 ? nil : Objection("needs at least one key")
  }
}

extension RowsExactKernel {
  func cost(of problem: ExactProblem) -> Cost {
    let rows = Double(problem.batch * problem.heads * problem.queryLength)
    let dimensions = Double(problem.keyDimension + problem.valueDimension)
    return Cost(
      operations: 2 * rows * Double(problem.keyLength) * dimensions,
      bytes: 4 * rows * Double(problem.keyLength) * dimensions,
      extraMemory: 4 * problem.keyLength, efficiency: 0.05, overhead: 1e-5,
      pieces: problem.batch * problem.heads)
  }
}

extension RowsExactKernel {
  func forward(_ inputs: ExactArguments) throws -> ExactOutputs {
    let problem = inputs.problem
    let queries = try inputs.queries.permuted([0, 2, 1, 3])  // [b,h,t,k]
    let keys = try inputs.keys.permuted([0, 2, 1, 3])
    let values = try inputs.values.permuted([0, 2, 1, 3])
    let scale = try Tensor(inputs.scale, [problem.heads, 1, 1])
    var outputs: [Tensor] = []
    var logSums: [Tensor] = []
    for row in 0..<problem.queryLength {
      let seen = 0..<(problem.isCausal ? row + 1 : problem.keyLength)
      let query = try queries.sliced(2, row..<row + 1)
      let visible = try keys.sliced(2, seen)
      let scores = try query.matmul(visible.transposed()) * scale  // [b,h,1,seen]
      let highest = try scores.topK(1).values  // [b,h,1,1]
      let weights = try (scores - highest).exponential()
      let sum = try weights.sum([-1], keepsAxes: true)
      outputs.append(try weights.matmul(values.sliced(2, seen)) / sum)
      logSums.append(try (sum.logarithm() + highest).squeezed(-1))
    }
    return [
      .output: try Tensor.concatenated(outputs, 2).permuted([0, 2, 1, 3]).contiguous(),
      .logSumExp: try Tensor.concatenated(logSums, 2),
    ]
  }
}

extension RowsExactKernel {
  func backward(
    _ inputs: ExactArguments, _ outputs: ExactOutputs, _ incoming: ExactOutputs
  ) throws -> ExactGradients {
    throw AttentionError.kernelObjects(name, Objection("computes no gradients"))
  }
}

/// The program of Attention's article OwnKernel.
enum OwnKernel {
  static func run() throws {
    var random = Philox(seed: 0)
    let shape: Shape = [2, 37, 3, 16]
    let queries = try Tensor.normal(shape, using: &random)
    let keys = try Tensor.normal(shape, using: &random)
    let values = try Tensor.normal(shape, using: &random)

    try ExactAttention.register(RowsExactKernel())
    let call = try OperatorCall<ExactAttention>(
      queries: queries, keys: keys, values: values, mask: AttentionMask(isCausal: true))
    let verdict = try call.explanation()
    print(verdict)  // cpu.tiled, the lowest estimate

    let own = try attention(
      queries: queries, keys: keys, values: values, mask: AttentionMask(isCausal: true),
      kernel: "cpu.rows"
    ).output
    let reference = try attention(
      queries: queries, keys: keys, values: values, mask: AttentionMask(isCausal: true),
      kernel: "cpu.reference"
    ).output
    let error = try (own - reference).squared().mean().squareRoot().item()
    print(try error / reference.squared().mean().squareRoot().item())  // below 10⁻⁵

    try check(verdict, error / reference.squared().mean().squareRoot().item())
  }

  private static func check(_ verdict: Explanation, _ error: Double) throws {
    guard error < 1e-5 else { throw ProgramError("the own kernel is off by \(error)") }
    let own = verdict.candidates.first { $0.kernel == "cpu.rows" }
    guard own?.objection == nil, own?.seconds != nil else {
      throw ProgramError("the own kernel is no candidate: \(verdict)")
    }
  }
}
