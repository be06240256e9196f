import AttentionTensors

/// The definition, computed with whole matrices: memory grows with queries × keys.
///
/// In float64 and by elementary operations it is the ``reference`` that other kernels are tested
/// against: it shares no algebra with them, and its gradients come from the tape. In the inputs'
/// dtype, with each step rounded to it, it is the ``unfused`` computation that a fused kernel must
/// beat in speed and match in error.
struct PlainExactKernel: ExactKernel {
  static let reference = PlainExactKernel(isReference: true)
  static let unfused = PlainExactKernel(isReference: false)

  let isReference: Bool

  var name: String { isReference ? "cpu.reference" : "cpu.unfused" }

  /// The most bytes of score matrices.
  private static let memoryLimit = 8 << 30

  private func dtype(of problem: ExactProblem) -> DType { isReference ? .float64 : problem.dtype }

  /// The number of score matrices in memory at the same time.
  private func matrices(_ problem: ExactProblem) -> Int { problem.needsGradient ? 8 : 4 }

  func objection(to problem: ExactProblem) -> Objection? {
    if !isReference, problem.dtype == .float64 {
      return Objection("needs float32, bfloat16 or float16 inputs, was float64")
    }
    let bytes = cost(of: problem).extraMemory
    guard bytes <= Self.memoryLimit else {
      return Objection("its score matrices need \(bytes >> 20) MiB; it takes at most 8192 MiB")
    }
    return nil
  }

  func cost(of problem: ExactProblem) -> Cost {
    let pairs =
      Double(problem.batch * problem.heads) * Double(problem.queryLength)
      * Double(problem.keyLength)
    let perPair = Double(problem.keyDimension + problem.valueDimension)
    let elements = Double(matrices(problem) * dtype(of: problem).size) * pairs
    // Masked pairs are computed too. A backward pass recomputes the forward one and has twice its
    // products. Each elementary step goes through memory and waits for the previous one, which leaves
    // a quarter of the peak rate, and less for few queries.
    return Cost(
      operations: 2 * pairs * perPair * (problem.needsGradient ? 4 : 1) / problem.filledRegisters,
      bytes: problem.tensorBytes + 2 * elements,
      extraMemory: Int(min(elements, 1e18)) + problem.convertedBiasBytes(dtype(of: problem)),
      efficiency: isReference ? 0.02 : 0.25,
      overhead: isReference ? 1e-3 : 5e-5, pieces: problem.batch * problem.heads)
  }

  func forward(_ inputs: ExactArguments) throws -> ExactOutputs {
    let operands = try PlainOperands(
      inputs, dtype: dtype(of: inputs.problem), tracks: false, selects: hidesUnfit(inputs))
    return try run(operands, inputs)
  }

  func backward(
    _ inputs: ExactArguments, _ outputs: ExactOutputs, _ incoming: ExactOutputs
  ) throws -> ExactGradients {
    let dtype = dtype(of: inputs.problem)
    let (outputGradient, logSumExpGradient) = (incoming[.output], incoming[.logSumExp])
    let selects = try hidesUnfit(inputs, outputGradient)
    let operands = try PlainOperands(
      inputs, dtype: dtype, tracks: true,
      silent: selects ? silentQueries(inputs, outputGradient, logSumExpGradient) : nil,
      selects: selects)
    let again = try run(operands, inputs)
    var total = try Tensor.zeros([], dtype: dtype)
    if let outputGradient {
      total = try total + (again.output * outputGradient.cast(to: dtype)).sum()
    }
    if let logSumExpGradient {
      // The −∞ of an empty row has no gradient, and −∞ · 0 would be NaN.
      let isEmpty = try again.logSumExp.isEqual(to: .full([], -.infinity, dtype: dtype))
      let finite = try Tensor.select(isEmpty, .zeros([], dtype: dtype), again.logSumExp)
      total = try total + (finite * logSumExpGradient.cast(to: dtype)).sum()
    }
    return try operands.gradients(of: total)
  }

  /// Whether pairs are hidden, those of different sequences too, and something that products read is NaN
  /// or infinite.
  private func hidesUnfit(_ inputs: ExactArguments, _ outputGradient: Tensor? = nil) throws -> Bool
  {
    guard inputs.hidesPairs || inputs.problem.packedSequences != nil else { return false }
    let read = [inputs.queries, inputs.keys, inputs.values, inputs.logitDecay, outputGradient]
    return try read.contains { try $0?.isFinite() == false }
  }

  /// The queries whose incoming gradients are all zero, bool [b,h,t]: even NaN weights contribute nothing.
  private func silentQueries(
    _ inputs: ExactArguments, _ outputGradient: Tensor?, _ logSumExpGradient: Tensor?
  ) throws -> Tensor {
    let problem = inputs.problem
    let (b, h, t, v) = (
      problem.batch, problem.heads, problem.queryLength, problem.valueDimension
    )
    let outputs = try outputGradient?.elements(as: Double.self)
    let sums = try logSumExpGradient?.elements(as: Double.self)
    let flags = (0..<b * h * t).map { row in
      let place = ((row / (h * t) * t + row % t) * h + row / t % h) * v
      return (sums?[row] ?? 0) == 0
        && (outputs?[place..<place + v].allSatisfy { $0 == 0 } ?? true)
    }
    return try Tensor(flags, [b, h, t])
  }

  private func run(_ operands: PlainOperands, _ inputs: ExactArguments) throws -> ExactOutputs {
    let scores = try operands.scores(inputs)
    let (weights, logSumExp) =
      try isReference
      ? plainSoftmax(scores, sinkLogits: operands.sinkLogits)
      : fusedSoftmax(scores, sinkLogits: operands.sinkLogits)
    let output = try operands.output(weights).permuted([0, 2, 1, 3])
    guard operands.tracks else {
      return [
        .output: try output.cast(to: inputs.dtype).contiguous(),
        .logSumExp: try logSumExp.cast(to: .float32),
      ]
    }
    return [.output: output, .logSumExp: logSumExp]
  }
}
