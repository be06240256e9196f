import AttentionCUDA
import AttentionCUDAKernels
import AttentionTensors

/// The short convolution on a GPU, by `scan/convolution.cu` and `scan/convolution_backward.cu`: a block
/// processes 128 channels of a piece of a sequence's tokens.
struct DeviceConvolution {
  private let call: ConvolutionCall
  private let queue: DeviceQueue
  private let pieces: [ScanConvolutionPiece]
  private let memory: DeviceMemory

  /// Tokens per piece; each piece has its own partial sums of the weight's gradient.
  private static let pieceTokens = 64

  private var strips: Int { call.channels.pieces(of: convolution_threads) }

  init(_ call: ConvolutionCall) throws {
    self.call = call
    let tokens = call.inputs.shape[0] * call.inputs.shape[1]
    let blocks =
      (tokens.pieces(of: Self.pieceTokens) + call.sequences.count)
      * call.channels.pieces(of: convolution_threads)
    if let objection = Objection.beyondGrid(tokens: tokens, blocks: blocks) {
      throw AttentionError.invalidArgument(
        "inputs", was: "\(objection)", mustBe: "of fewer tokens on \(call.device)")
    }
    queue = try DeviceQueue.shared(for: call.device)
    pieces = call.sequences.enumerated().flatMap { number, sequence in
      // An empty sequence has one piece too, which passes its state on.
      stride(from: 0, to: max(1, sequence.tokens.count), by: Self.pieceTokens).map {
        ScanConvolutionPiece(
          sequence: LinearSequence(sequence, chunk: number), begin: Int32($0),
          count: Int32(min(Self.pieceTokens, sequence.tokens.count - $0)))
      }
    }
    memory = try queue.upload(pieces, "pieces of sequences")
  }

  private func fresh(_ shape: Shape, _ dtype: DType = .float32) throws -> Tensor {
    try .onDevice(shape, dtype: dtype, device: call.device)
  }

  func forward() throws -> ShortConvolutionResult {
    let output = try fresh(call.inputs.shape, call.inputs.dtype)
    let state = try fresh(call.past.shape)
    try launch("scan/convolution") {
      ScanConvolutionParameters(
        operands: try operands(), output: try LinearRows(output),
        final_state: try state.deviceAddress(), pieces: memory.address)
    }
    return ShortConvolutionResult(
      output: output, finalState: try state.transposed().contiguous())
  }

  /// The gradients of inputs, weight, bias and initial state.
  func backward(_ outputGradient: Tensor?, _ finalStateGradient: Tensor?) throws -> [Tensor] {
    let (width, channels) = (call.width, call.channels)
    let incoming = try outputGradient?.withDenseRows()
    let last = try finalStateGradient?.transposed().contiguous()
    let inputs = try fresh(call.inputs.shape, call.inputs.dtype)
    let past = try fresh(call.past.shape)
    let weight = try fresh([pieces.count, width, channels])
    let bias = try fresh([pieces.count, channels])
    try launch("scan/convolution_backward") {
      ScanConvolutionBackwardParameters(
        operands: try operands(), output_gradient: try LinearRows(incoming),
        final_state_gradient: try Tensor.deviceAddress(last), inputs: try LinearRows(inputs),
        past: try past.deviceAddress(), weight: try weight.deviceAddress(),
        bias: try bias.deviceAddress(), pieces: memory.address)
    }
    func sum(_ slots: Tensor, _ shape: Shape) throws -> Tensor {
      try SlotSum(slots: slots).run(shape, .float32, queue)
    }
    defer { withExtendedLifetime((incoming, last)) {} }
    return [
      inputs, try sum(weight, [1, width, channels]).squeezed(0).transposed(),
      try sum(bias, [1, 1, channels]).reshaped([channels]), try past.transposed(),
    ]
  }

  private func launch(
    _ kernel: String, _ parameters: () throws -> some BitwiseCopyable
  ) throws {
    guard !pieces.isEmpty else { return }
    try queue.launch(
      kernel, blocks: pieces.count * strips, threads: convolution_threads, parameters())
  }

  private func operands() throws -> ScanConvolutionOperands {
    ScanConvolutionOperands(
      inputs: try LinearRows(call.inputs), weight: try call.weight.deviceAddress(),
      bias: try Tensor.deviceAddress(call.bias), past: try call.past.deviceAddress(),
      channels: Int32(call.channels), width: Int32(call.width),
      applies_silu: call.appliesSiLU ? 1 : 0, strips: Int32(strips))
  }
}
