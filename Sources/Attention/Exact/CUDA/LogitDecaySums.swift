import AttentionCUDA
import AttentionCUDAKernels
import AttentionTensors

/// The running sums of the logit decay on a device, by `attention/decay.cu`.
struct LogitDecaySums {
  /// Each sums a stretch of a sequence.
  private static let threads = 256

  private let inputs: ExactArguments
  private let segments: UInt64
  private let operands: FlashOperands

  /// - Parameter segments: the address of the list of sequences.
  init(_ inputs: ExactArguments, segments: UInt64, _ operands: FlashOperands) {
    self.inputs = inputs
    self.segments = segments
    self.operands = operands
  }

  private var count: Int {
    inputs.problem.batch * inputs.problem.heads * inputs.problem.queryLength
  }

  /// The address of the sums [batch, heads, length], each an `AttentionDecaySum`.
  func forward() throws -> UInt64 {
    guard let decay = try inputs.logitDecay?.cast(to: .float32) else { return 0 }
    let sums = try operands.fresh(
      count * MemoryLayout<AttentionDecaySum>.stride, "logit decay's sums")
    try launch(
      isBackward: false,
      AttentionDecayParameters(
        segments: segments, decay: try operands.address(holding: decay),
        batch: Int64(decay.strides[0]), row: Int64(decay.strides[1]),
        head: Int64(decay.strides[2]),
        key_mask: try operands.address(inputs.keyMask, .bool), sums: sums, query_sums: 0,
        key_sums: 0,
        gradient: 0,
        length: Int32(inputs.problem.queryLength), heads: Int32(inputs.problem.heads)))
    return sums
  }

  /// The gradient [batch, length, heads] of the decay from those of its sums, [batch, heads, length]: what
  /// a token's sum adds to the scores of its query, and what it takes from those of its key.
  func backward(querySums: UInt64, keySums: UInt64) throws -> Tensor {
    let problem = inputs.problem
    guard let decay = try inputs.logitDecay?.cast(to: .float32) else {
      return try .zeros([0]).moved(to: inputs.device)
    }
    let gradient = try Tensor.onDevice(
      [problem.batch, problem.queryLength, problem.heads], dtype: .float32, device: inputs.device)
    try launch(
      isBackward: true,
      AttentionDecayParameters(
        segments: segments, decay: try operands.address(holding: decay),
        batch: Int64(decay.strides[0]), row: Int64(decay.strides[1]),
        head: Int64(decay.strides[2]), key_mask: 0, sums: 0, query_sums: querySums,
        key_sums: keySums,
        gradient: try gradient.deviceAddress(),
        length: Int32(problem.queryLength), heads: Int32(problem.heads)))
    return gradient
  }

  private func launch(isBackward: Bool, _ parameters: AttentionDecayParameters) throws {
    try operands.queue.launch(
      "attention/decay", definitions: ["BACKWARD=\(isBackward ? 1 : 0)"],
      grid: (inputs.problem.heads, inputs.segments.count, 1), threads: Self.threads,
      sharedBytes: Self.threads * MemoryLayout<AttentionPartOfSum>.stride, parameters)
  }
}
