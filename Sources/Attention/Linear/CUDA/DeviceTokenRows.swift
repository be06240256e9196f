import AttentionCUDA
import AttentionCUDAKernels
import AttentionTensors

extension LinearRows {
  /// The rows of `tensor` [batch, length, heads, width] or [batch, length, width], whose last axis is contiguous; for nil a null base, which marks it as absent.
  ///
  /// - Throws: `TensorError` if the tensor is not on a device.
  init(_ tensor: Tensor?) throws {
    guard let tensor else {
      self.init()
      return
    }
    self.init(
      base: try tensor.deviceAddress(), batch: Int64(tensor.strides[0]),
      token: Int64(tensor.strides[1]), head: tensor.rank == 4 ? Int64(tensor.strides[2]) : 0,
      type: tensor.dtype.kernelType)
  }
}

extension LinearSequence {
  init(_ sequence: TokenSequence, chunk: Int, segment: Int = 0, ended: Int = -1) {
    self.init(
      batch: Int32(sequence.row), first: Int32(sequence.tokens.lowerBound),
      count: Int32(sequence.tokens.count), chunk: Int32(chunk), segment: Int32(segment),
      ended: Int32(ended))
  }
}

/// The sequences of a call on a device, with the indices of their chunks.
struct DeviceSequences {
  private let memory: DeviceMemory
  /// The number of chunks of all sequences.
  let chunks: Int

  var address: UInt64 { memory.address }

  /// - Parameter chunk: tokens per chunk.
  init(_ sequences: some Sequence<TokenSequence>, chunk: Int, _ queue: DeviceQueue) throws {
    var chunks = 0
    let all = sequences.map { sequence in
      defer { chunks += sequence.tokens.count.pieces(of: chunk) }
      return LinearSequence(sequence, chunk: chunks)
    }
    self.chunks = chunks
    memory = try queue.upload(all, "sequences")
  }

  /// Sequences whose chunks have indices already, `chunks` in all.
  init(_ sequences: [LinearSequence], chunks: Int, _ queue: DeviceQueue) throws {
    self.chunks = chunks
    memory = try queue.upload(sequences, "sequences")
  }
}

extension Tensor {
  /// The address of the first element on the device; 0, the null pointer, for nil.
  static func deviceAddress(_ tensor: Tensor?) throws -> UInt64 {
    try tensor?.deviceAddress() ?? 0
  }
}
