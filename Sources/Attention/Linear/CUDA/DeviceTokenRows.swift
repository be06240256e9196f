import AttentionCUDA
import AttentionTensors

/// The rows of a [batch, length, heads, width] or [batch, length, width] tensor on a device, as `Rows` in
/// `linear/tokens.cuh`.
struct DeviceTokenRows: BitwiseCopyable {
  private var base: UInt64 = 0
  private var batch: Int64 = 0
  private var token: Int64 = 0
  private var head: Int64 = 0
  private var type: Int32 = 0
  private var unused: Int32 = 0

  /// No rows: the kernels ask for a base.
  static let none = DeviceTokenRows()

  private init() {}

  /// The rows of `tensor`, whose last axis lies dense in memory; none of nil.
  ///
  /// - Throws: `TensorError` if the tensor is not on a device.
  init(_ tensor: Tensor?) throws {
    guard let tensor else { return }
    base = try tensor.deviceAddress()
    batch = Int64(tensor.strides[0])
    token = Int64(tensor.strides[1])
    head = tensor.rank == 4 ? Int64(tensor.strides[2]) : 0
    type = tensor.dtype.kernelType
  }
}

/// A sequence as `Sequence` in `linear/tokens.cuh`.
struct DeviceSequence: BitwiseCopyable {
  private var batch: Int32
  private var first: Int32
  private var count: Int32
  private var chunk: Int32
  private var segment: Int32

  init(_ sequence: TokenSequence, chunk: Int, segment: Int = 0) {
    batch = Int32(sequence.row)
    first = Int32(sequence.tokens.lowerBound)
    count = Int32(sequence.tokens.count)
    self.chunk = Int32(chunk)
    self.segment = Int32(segment)
  }
}

/// The sequences of a call on a device, cut into chunks.
struct DeviceSequences {
  private let memory: DeviceMemory
  /// How many chunks there are in all.
  let chunks: Int

  var address: UInt64 { memory.address }

  /// - Parameter chunk: the tokens of a chunk.
  init(_ sequences: some Sequence<TokenSequence>, chunk: Int, _ queue: DeviceQueue) throws {
    var chunks = 0
    let all = sequences.map { sequence in
      defer { chunks += sequence.tokens.count.pieces(of: chunk) }
      return DeviceSequence(sequence, chunk: chunks)
    }
    self.chunks = chunks
    memory = try queue.upload(all, "sequences")
  }

  /// Sequences that are counted already, with `chunks` chunks in all.
  init(_ sequences: [DeviceSequence], chunks: Int, _ queue: DeviceQueue) throws {
    self.chunks = chunks
    memory = try queue.upload(sequences, "sequences")
  }
}

extension Tensor {
  /// The address of the first element on the device; 0, the null pointer, of nil.
  static func deviceAddress(_ tensor: Tensor?) throws -> UInt64 {
    try tensor?.deviceAddress() ?? 0
  }
}
