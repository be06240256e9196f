import AttentionCPUKernels
import AttentionTensors

/// The rows of a [b, t, d] tensor in place: d contiguous elements, tokens ``stride`` elements apart.
struct ScanRows: @unchecked Sendable {
  let type: cpu_float_type
  /// Elements between adjacent tokens.
  let stride: Int
  private let base: UnsafeMutableRawPointer
  private let batchStride: Int
  private let size: Int
  /// Keeps the memory alive.
  private let owner: Tensor?

  /// The rows of `tensor`, whose last axis is contiguous.
  init(reading tensor: Tensor) throws {
    type = try tensor.dtype.loopType
    stride = tensor.strides[1]
    batchStride = tensor.strides[0]
    size = tensor.dtype.size
    base = try tensor.withUnsafeRawPointer { UnsafeMutableRawPointer(mutating: $0) }
    owner = tensor
  }

  /// The rows of a contiguous tensor that is being written.
  init(writing base: UnsafeMutableRawPointer, _ shape: Shape, _ dtype: DType) throws {
    type = try dtype.loopType
    stride = shape[2]
    batchStride = shape[1] * shape[2]
    size = dtype.size
    self.base = base
    owner = nil
  }

  /// Asks for the rows of `tokens` to be near when they are read or written.
  func prefetch(
    _ row: Int, _ tokens: Range<Int>, _ channels: Range<Int>, _ kernels: cpu_kernels,
    toWrite: Bool = false
  ) {
    kernels.queue_prefetch(
      tokens.count, channels.count * size, at(row, tokens.lowerBound, channels.lowerBound),
      stride * size, toWrite ? 1 : 0)
  }

  /// The address of `channel` of `token`.
  func at(_ row: Int, _ token: Int, _ channel: Int) -> UnsafeMutableRawPointer {
    base + (row * batchStride + token * stride + channel) * size
  }
}

extension GatedScanArguments {
  /// Zeros of the inputs' shape that take the memory of one row.
  func zeroRows() throws -> Tensor {
    try Tensor.zeros([problem.channels], dtype: problem.dtype).contiguous()
      .expanded(to: inputs.shape)
  }

  /// Whether a pass that writes results for all tokens in these dtypes uses non-temporal stores.
  func writesPastCaches(_ dtypes: DType...) -> Int32 {
    PastCaches.flag(bytes: inputs.elementCount * dtypes.reduce(0) { $0 + $1.size })
  }

  /// Copies `states` [n, d], or zeros, to `target`.
  func copy(_ states: Tensor?, to target: UnsafeMutablePointer<Float>) throws {
    guard let states = try states?.contiguous() else {
      return target.update(repeating: 0, count: stateShape.elementCount)
    }
    try states.withUnsafePointer(to: Float.self) {
      target.update(from: $0, count: stateShape.elementCount)
    }
  }
}
