import AttentionCUDA
import AttentionTensors

/// The short convolution on a GPU, by `scan/convolution.cu` and `scan/convolution_backward.cu`: a block
/// takes 128 channels of a piece of a sequence's tokens.
struct DeviceConvolution {
  private let call: ConvolutionCall
  private let queue: DeviceQueue
  private let pieces: [Piece]
  private let memory: DeviceMemory

  /// Channels of a block, a thread each.
  private static let threads = 128
  /// Tokens of a piece: each gives sums of its own to the gradient of the weight.
  private static let pieceTokens = 64

  private var strips: Int { call.channels.pieces(of: Self.threads) }

  init(_ call: ConvolutionCall) throws {
    self.call = call
    let tokens = call.inputs.shape[0] * call.inputs.shape[1]
    let blocks =
      (tokens.pieces(of: Self.pieceTokens) + call.sequences.count)
      * call.channels.pieces(of: Self.threads)
    if let objection = Objection.beyondGrid(tokens: tokens, blocks: blocks) {
      throw AttentionError.invalidArgument(
        "inputs", was: "\(objection)", mustBe: "of fewer tokens on \(call.device)")
    }
    queue = try DeviceQueue.shared(for: call.device)
    pieces = call.sequences.enumerated().flatMap { number, sequence in
      // An empty sequence has one piece too: it hands its state on.
      stride(from: 0, to: max(1, sequence.tokens.count), by: Self.pieceTokens).map {
        Piece(
          sequence: DeviceSequence(sequence, chunk: number), begin: Int32($0),
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
      Parameters(
        operands: try operands(), output: try DeviceTokenRows(output),
        finalState: try state.deviceAddress(), pieces: memory.address)
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
      BackwardParameters(
        operands: try operands(), outputGradient: try DeviceTokenRows(incoming),
        finalStateGradient: try Tensor.deviceAddress(last), inputs: try DeviceTokenRows(inputs),
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
      kernel, blocks: pieces.count * strips, threads: Self.threads, parameters())
  }

  private func operands() throws -> Operands {
    Operands(
      inputs: try DeviceTokenRows(call.inputs), weight: try call.weight.deviceAddress(),
      bias: try Tensor.deviceAddress(call.bias), past: try call.past.deviceAddress(),
      channels: Int32(call.channels), width: Int32(call.width),
      appliesSiLU: call.appliesSiLU ? 1 : 0, strips: Int32(strips))
  }

  /// As `scan/convolution.cuh` declares it.
  private struct Piece: BitwiseCopyable {
    var sequence: DeviceSequence
    var begin: Int32
    var count: Int32
  }

  /// As `scan/convolution.cuh` declares it.
  private struct Operands: BitwiseCopyable {
    var inputs: DeviceTokenRows
    var weight: UInt64
    var bias: UInt64
    var past: UInt64
    var channels: Int32
    var width: Int32
    var appliesSiLU: Int32
    var strips: Int32
  }

  /// As `scan/convolution.cu` declares it.
  private struct Parameters: BitwiseCopyable {
    var operands: Operands
    var output: DeviceTokenRows
    var finalState: UInt64
    var pieces: UInt64
  }

  /// As `scan/convolution_backward.cu` declares it.
  private struct BackwardParameters: BitwiseCopyable {
    var operands: Operands
    var outputGradient: DeviceTokenRows
    var finalStateGradient: UInt64
    var inputs: DeviceTokenRows
    var past: UInt64
    var weight: UInt64
    var bias: UInt64
    var pieces: UInt64
  }
}
