import CUDA
import Tensors

/// Exact attention on an NVIDIA GPU of compute capability 8.0 or later: tiles in shared memory,
/// `mma.sync` products of half precision with float32 sums (Dao, *FlashAttention-2*, 2023).
///
/// Tensors live with the processor: inputs are copied to the device and the outputs back, which takes
/// longer than the attention of all but long sequences.
struct FlashExactKernel: ExactKernel {
  let name = "cuda.flash"

  private static let oldestCapability = 80
  /// What the driver allows along the second and third axis of a grid.
  private static let largestGrid = 65_535
  /// Places of queries and keys are 32-bit numbers, also with a window added.
  private static let longest = 1 << 28

  func objection(to device: Device) -> Objection? {
    guard case .cuda(let index) = device else {
      return Objection("\(device) asked for; it runs on a GPU")
    }
    do {
      let limits = try CUDADevice.at(index).limits
      return limits.capability >= Self.oldestCapability
        ? nil
        : Objection(
          "\(limits.name) has compute capability \(limits.capability / 10)."
            + "\(limits.capability % 10); it needs 8.0")
    } catch {
      return Objection("\(error)")
    }
  }

  func objection(to problem: ExactProblem) -> Objection? {
    guard problem.dtype.isHalfPrecision else {
      return Objection("\(problem.dtype.rawValue) asked for; it multiplies half precision")
    }
    let dimension = max(problem.keyDimension, problem.valueDimension)
    if dimension > FlashTile.largestDimension {
      return Objection("dimension \(dimension); it goes up to \(FlashTile.largestDimension)")
    }
    if problem.needsGradient {
      let absent: [(Bool, String)] = [
        ((problem.normalizedGroups ?? 1) > 1, "normalisation in several groups"),
        (problem.hasSoftcap, "softcap"), (problem.hasALiBi, "ALiBi"),
        (problem.bias != nil, "a bias"), (problem.hasLogitDecay, "logit decay"),
        (
          dimension > FlashBackwardTile.largestDimension,
          "dimensions above \(FlashBackwardTile.largestDimension)"
        ),
      ]
      if let what = absent.first(where: \.0)?.1 {
        return Objection("gradients asked for; it has none with \(what)")
      }
    }
    let sequences = problem.packedSequences ?? problem.batch
    if max(sequences, problem.heads) > Self.largestGrid {
      return Objection(
        "\(sequences) sequences of \(problem.heads) heads; it takes at most "
          + "\(Self.largestGrid) of each")
    }
    if max(problem.queryLength, problem.keyLength) > Self.longest {
      return Objection("sequences are longer than \(Self.longest)")
    }
    return nil
  }

  func cost(of problem: ExactProblem) -> Cost {
    // Half of what mma.sync could do, as measured; the copies to and from the device are bytes that
    // pass at a fraction of its memory's rate.
    let copySlowness = 100.0
    let rows = problem.batch * problem.queryLength * problem.heads
    return Cost(
      operations: problem.forwardOperations
        + (problem.needsGradient ? problem.backwardOperations : 0),
      bytes: problem.tensorBytes * copySlowness,
      extraMemory: 0, efficiency: 0.5, overhead: 1e-4, pieces: max(1, rows / 128))
  }

  func forward(_ inputs: ExactInputs) throws -> ExactOutputs {
    try FlashForward(inputs, device(of: inputs)).run()
  }

  private func device(of inputs: ExactInputs) throws -> CUDADevice {
    guard case .cuda(let index) = inputs.device else {
      // The selector does not come here: the objection says so to who forces the kernel.
      throw AttentionError.kernelObjects(name, Objection("\(inputs.device) asked for"))
    }
    return try CUDADevice.at(index)
  }

  func backward(
    _ inputs: ExactInputs, _ outputs: ExactOutputs, outputGradient: Tensor?,
    logSumExpGradient: Tensor?
  ) throws -> ExactGradients {
    try FlashBackward(inputs, device(of: inputs)).run(
      outputs, outputGradient: outputGradient, logSumExpGradient: logSumExpGradient)
  }
}
