import AttentionCPUKernels
import AttentionTensors

/// Exact attention for few queries, as in decoding: the time is that of reading the keys and values
/// once.
///
/// All queries of a key/value head are rows of one product, so grouped heads share each read. The
/// keys are split into pieces of a fixed length that are processed in parallel, each with its own
/// maximum, sum and output; the pieces are merged in order. Keys and values are read in place; half
/// precision is widened in registers.
struct DecodeExactKernel: ExactKernel {
  let name = "cpu.decode"

  /// The most query rows per key/value head; for more, packing the keys pays off.
  private static let mostRows = 16

  /// The rows that share one read of a key.
  private static let sharingRows = 8

  /// Without packing, each multiply-add of a single row loads its operand: about a third of the peak.
  private func efficiency(_ problem: ExactProblem) -> Double {
    rows(problem) < Self.sharingRows ? 0.35 : 0.6
  }

  private func rows(_ problem: ExactProblem) -> Int {
    problem.queryLength * problem.heads / problem.keyValueHeads
  }

  func objection(to problem: ExactProblem) -> Objection? {
    if problem.dtype.floatType == nil {
      return Objection("needs float32, bfloat16 or float16 inputs, was \(problem.dtype.rawValue)")
    }
    if problem.needsGradient { return Objection("computes no gradients") }
    let rows = rows(problem)
    return rows <= Self.mostRows
      ? nil
      : Objection("\(rows) query rows share a key/value head; it takes at most \(Self.mostRows)")
  }

  func cost(of problem: ExactProblem) -> Cost {
    let pieces = problem.keyLength.pieces(of: DecodePass.pieceKeys)
    let heads = problem.batch * problem.keyValueHeads
    let extra = heads * pieces * rows(problem) * (problem.valueDimension + 2) * 4
    return Cost(
      operations: 2 * Double(heads * rows(problem) * problem.keyLength)
        * Double(problem.keyDimension + problem.valueDimension),
      bytes: problem.tensorBytes, extraMemory: extra, efficiency: efficiency(problem),
      overhead: 4e-6, pieces: (problem.packedSequences ?? problem.batch) * pieces)
  }

  func forward(_ inputs: ExactArguments) throws -> ExactOutputs { try DecodePass(inputs).run() }

  func backward(
    _ inputs: ExactArguments, _ outputs: ExactOutputs, _ incoming: ExactOutputs
  ) throws -> ExactGradients {
    // Not reached: the kernel objects to problems with gradients.
    throw AttentionError.kernelObjects(name, Objection("computes no gradients"))
  }
}
