import AttentionCUDA
import AttentionTensors

/// Exact attention on an NVIDIA GPU of compute capability 8.0 or later: tiles in shared memory,
/// `mma.sync` products with float32 sums (Dao, *FlashAttention-2*, 2023).
///
/// Nothing is waited for: kernels are queued. Tensors are read as they lie where their rows begin at
/// multiples of 16 bytes and have a multiple of 16 numbers; others are copied first.
struct FlashExactKernel: ExactKernel {
  /// bfloat16 and float16.
  static let half = FlashExactKernel(kind: .half)
  /// float32, each number taken apart into two of eleven bits: three products keep all but two bits.
  static let float32 = FlashExactKernel(kind: .float32)
  /// float32, rounded to TF32 for products.
  static let tf32 = FlashExactKernel(kind: .tf32)

  private enum Kind: Sendable { case half, float32, tf32 }

  private let kind: Kind

  var name: String {
    switch kind {
    case .half: "cuda.flash"
    case .float32: "cuda.float32"
    case .tf32: "cuda.tf32"
    }
  }

  /// What the driver allows along the second and third axis of a grid.
  private static let largestGrid = 65_535
  /// Places of queries and keys are 32-bit numbers, also with a window added.
  private static let longest = 1 << 28

  /// The terms that the kernels add to scores; another is an objection, never ignored.
  private static let terms: ScoreTermSet = [.softcap, .alibi, .bias, .logitDecay, .sinks]

  func objection(to device: Device) -> Objection? { .unlessGPU(device) }

  func objection(to problem: ExactProblem) -> Objection? {
    switch kind {
    case .half where !problem.dtype.isHalfPrecision:
      return Objection("needs bfloat16 or float16 inputs, was \(problem.dtype.rawValue)")
    case .float32 where problem.dtype != .float32, .tf32 where problem.dtype != .float32:
      return Objection("needs float32 inputs, was \(problem.dtype.rawValue)")
    case .tf32 where !problem.allowsTF32:
      return Objection("rounds to TF32, which the call does not allow")
    default: break
    }
    guard problem.terms.isSubset(of: Self.terms) else {
      return Objection("the scores have a term that it does not add")
    }
    let dimension = max(problem.keyDimension, problem.valueDimension)
    if dimension > FlashTile.largestDimension {
      return Objection("dimension \(dimension); needs at most \(FlashTile.largestDimension)")
    }
    let sequences = problem.packedSequences ?? problem.batch
    // The gradient of a bias has heads and sequences along one axis.
    let blocks =
      problem.needsBiasGradient ? sequences * problem.heads : max(sequences, problem.heads)
    if blocks > Self.largestGrid {
      return Objection(
        "\(sequences) sequences of \(problem.heads) heads; it takes at most "
          + "\(Self.largestGrid) of each, and of both together with the gradient of a bias")
    }
    if max(problem.queryLength, problem.keyLength) > Self.longest {
      return Objection("sequences are longer than \(Self.longest)")
    }
    return nil
  }

  func cost(of problem: ExactProblem) -> Cost {
    let rows = problem.batch * problem.queryLength * problem.heads
    // Queueing a kernel takes some microseconds.
    let launch = 5e-6
    return Cost(
      operations: problem.forwardOperations
        + (problem.needsGradient ? problem.backwardOperations : 0),
      bytes: problem.tensorBytes, extraMemory: 0, efficiency: efficiency(problem), overhead: launch,
      pieces: max(1, rows / 128))
  }

  /// The measured share of what `mma.sync` could do in half precision. TF32 has half of that rate, and
  /// three products take three times as long. Hopper's own instructions have twice that rate, in half
  /// precision, by which they compute float32 too.
  private func efficiency(_ problem: ExactProblem) -> Double {
    switch kind {
    case .half: runsOnWarpgroups(problem, .bf16) ? 1 : 0.5
    case .tf32: 0.25
    case .float32: runsOnWarpgroups(problem, .tf32x3) ? 0.3 : 0.25 / 3
    }
  }

  private func runsOnWarpgroups(_ problem: ExactProblem, _ element: FlashElement) -> Bool {
    guard case .cuda(let index) = problem.device,
      let limits = try? CUDADevice.at(index).limits
    else { return false }
    let columns = TileColumns(
      keyDimension: problem.keyDimension, valueDimension: problem.valueDimension, element)
    return FlashFeatures(problem, element).usesWarpgroups(columns, TileLimits(limits))
  }

  private func element(of inputs: ExactArguments) throws -> FlashElement {
    guard let element = FlashElement(inputs.dtype, allowsTF32: kind == .tf32) else {
      // The selector does not come here: the objection says so to who forces the kernel.
      throw AttentionError.kernelObjects(
        name, Objection("does not support \(inputs.dtype.rawValue)"))
    }
    return element
  }

  func forward(_ inputs: ExactArguments) throws -> ExactOutputs {
    try FlashForward(inputs, element(of: inputs)).run()
  }

  func backward(
    _ inputs: ExactArguments, _ outputs: ExactOutputs, _ incoming: ExactOutputs
  ) throws -> ExactGradients {
    try FlashBackward(inputs, element(of: inputs)).run(outputs, incoming)
  }
}
