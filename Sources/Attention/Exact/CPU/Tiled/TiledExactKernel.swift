import AttentionTensors

/// Exact attention in tiles that stay in the caches; memory grows with queries + keys.
///
/// Forward: for each block of queries, the keys are streamed in blocks; a running maximum and sum give the
/// softmax of whole rows (or a constant shift instead of the maximum, if cosine similarity or the norms of
/// queries and keys bound the scores). Backward: the weights are recomputed from the log-sum-exp.
///
/// One kernel computes in float32 and widens half precision when a block is read; nothing is rounded before
/// the output. The other multiplies bfloat16 pairs if the processor has such instructions, and rounds the
/// weights to bfloat16.
struct TiledExactKernel: ExactKernel {
  static let float32 = TiledExactKernel(multipliesBFloat16: false)
  static let bfloat16 = TiledExactKernel(multipliesBFloat16: true)

  let multipliesBFloat16: Bool

  var name: String { multipliesBFloat16 ? "cpu.tiled.bfloat16" : "cpu.tiled" }

  /// bfloat16 pairs are multiplied at nearly twice the rate of float32.
  private var efficiency: Double { multipliesBFloat16 ? 1.2 : 0.65 }

  func objection(to problem: ExactProblem) -> Objection? {
    guard problem.dtype.floatType != nil else {
      return Objection("needs float32, bfloat16 or float16 inputs, was \(problem.dtype.rawValue)")
    }
    guard multipliesBFloat16 else { return nil }
    guard problem.dtype == .bfloat16 else {
      return Objection("needs bfloat16 inputs, was \(problem.dtype.rawValue)")
    }
    let set = InstructionSet.current
    return set.kernels.has_bf16 != 0
      ? nil : Objection("\(set.rawValue) has no bfloat16 dot products")
  }

  private static let packingRows = 16.0

  func cost(of problem: ExactProblem) -> Cost {
    let d = problem.keyDimension + problem.valueDimension
    let queries = problem.batch * problem.queryLength * problem.heads
    let keys = problem.batch * problem.keyLength * problem.keyValueHeads
    let slots = TileShape(problem).slots
    let floats =
      problem.needsGradient
      ? queries * (2 * d + slots * problem.keyDimension) : keys * d
    // Reading and packing a key takes about as long as multiplying it with this many rows.
    let packing = Double(keys * d) * 2 * Self.packingRows
    return Cost(
      operations: problem.forwardOperations / problem.filledRegisters + packing
        + (problem.needsGradient ? problem.backwardOperations : 0),
      bytes: problem.tensorBytes + Double(floats * 4),
      extraMemory: floats * 4 + roundedGradientBytes(problem), efficiency: efficiency,
      overhead: 12e-6, pieces: problem.needsGradient ? 16 : max(1, queries / 64))
  }

  /// Gradients are accumulated in float32 and then rounded.
  private func roundedGradientBytes(_ problem: ExactProblem) -> Int {
    guard problem.needsGradient else { return 0 }
    let queries = problem.batch * problem.queryLength * problem.heads * problem.keyDimension
    let keys =
      problem.batch * problem.keyLength * problem.keyValueHeads
      * (problem.keyDimension + problem.valueDimension)
    let size = DType.float32.size
    return (problem.dtype == .float32 ? 0 : (queries + keys) * size)
      + (problem.needsBiasGradient ? problem.convertedBiasBytes(.float32) : 0)
  }

  func forward(_ inputs: ExactArguments) throws -> ExactOutputs {
    try multipliesBFloat16
      ? TiledForward<BFloat16Operands>(inputs).run() : TiledForward<FloatOperands>(inputs).run()
  }

  func backward(
    _ inputs: ExactArguments, _ outputs: ExactOutputs, _ incoming: ExactOutputs
  ) throws -> ExactGradients {
    func run<Operands: BackwardOperands>(_: Operands.Type) throws -> ExactGradients {
      try TiledBackward<Operands>(inputs, outputs, incoming).run()
    }
    return try multipliesBFloat16 ? run(BFloat16Gradients.self) : run(FloatGradients.self)
  }
}

/// The tile sizes of the CPU kernel, a pure function of the problem.
///
/// A tile of scores, 64 queries by 128 keys, takes 32 KiB and stays in the nearest caches between
/// the product that computes it, the softmax and the product that reads it.
struct TileShape: Hashable, Sendable {
  let queries = 64
  let keys = 128
  /// The number of partial sums of the queries' gradient: see ``init(_:)``.
  let slots: Int

  /// The number of independent pieces that a backward pass should have, so that a long sequence
  /// with one head still occupies the threads. A constant, because results must not depend on the
  /// machine.
  private static let wantedPieces = 16

  /// Each key/value head of each sequence is a piece of the backward pass. If these are too few,
  /// the keys of each are assigned to `slots` pieces round-robin, each with its own partial sum of
  /// the queries' gradient.
  init(_ problem: ExactProblem) {
    let pieces = max(1, (problem.packedSequences ?? problem.batch) * problem.keyValueHeads)
    let keyBlocks = max(1, problem.keyLength.pieces(of: keys))
    slots = min(keyBlocks, Self.wantedPieces.pieces(of: pieces))
  }
}
