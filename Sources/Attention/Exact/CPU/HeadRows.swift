import AttentionCPUKernels
import AttentionTensors

/// Reads rows of one head from a [batch, length, heads, dimension] tensor as contiguous float32,
/// whatever its strides and dtype.
struct HeadRows: Sendable {
  let dimension: Int
  /// Strides in elements between adjacent rows of a head, and between adjacent heads of a row.
  let rowStride, headStride: Int
  private let batchStride: Int
  private let elementSize: Int
  private let elements: HostElements
  let type: cpu_float_type

  /// - Parameter type: the tensor's dtype in C.
  init(_ tensor: Tensor, _ type: cpu_float_type) throws {
    // Rows with gaps between their elements are rare: they are copied first.
    let tensor = tensor.strides[3] == 1 ? tensor : try tensor.contiguous()
    elements = try tensor.hostElements()
    (batchStride, rowStride, headStride) = (tensor.strides[0], tensor.strides[1], tensor.strides[2])
    elementSize = tensor.dtype.size
    self.type = type
    dimension = tensor.shape[3]
  }

  /// The address of row `start` of one head, valid as long as this value exists.
  func at(batch: Int, head: Int, start: Int) -> UnsafeRawPointer {
    elements.base + (batch * batchStride + start * rowStride + head * headStride) * elementSize
  }

  /// Prefetches `count` rows from `start` on. Rows of a head are separated by those of the other heads, a
  /// pattern that hardware prefetchers do not recognise.
  func prefetch(batch: Int, head: Int, start: Int, count: Int, _ kernels: cpu_kernels) {
    kernels.prefetch(
      count, dimension * elementSize, at(batch: batch, head: head, start: start),
      rowStride * elementSize, 0)
  }

  /// Copies `count` rows from `start` on to contiguous memory.
  func read(
    batch: Int, head: Int, start: Int, count: Int, into target: UnsafeMutablePointer<Float>,
    _ kernels: cpu_kernels
  ) {
    prefetch(batch: batch, head: head, start: start, count: count, kernels)
    kernels.load_rows(
      type, count, dimension, at(batch: batch, head: head, start: start), rowStride, 1, target)
  }

  /// The rows of one head in place; nil unless they are float32.
  func floats(batch: Int, head: Int, start: Int) -> UnsafePointer<Float>? {
    type == CPU_F32
      ? at(batch: batch, head: head, start: start).assumingMemoryBound(to: Float.self) : nil
  }

  /// Calls `body` with rows in float32 and their stride: in place if they need neither conversion nor
  /// normalisation, otherwise in scratch memory valid during the call.
  func withFloats(
    batch: Int, head: Int, start: Int, count: Int, normalizedGroups: Int?, _ kernels: cpu_kernels,
    _ body: (_ rows: UnsafePointer<Float>, _ stride: Int) -> Void
  ) throws {
    if normalizedGroups == nil, let rows = floats(batch: batch, head: head, start: start) {
      prefetch(batch: batch, head: head, start: start, count: count, kernels)
      return body(rows, rowStride)
    }
    let scratch = try Scratch(floats: 2 * count * dimension)
    let (rows, lengths) = (scratch.base, scratch.base + count * dimension)
    read(batch: batch, head: head, start: start, count: count, into: rows, kernels)
    if let normalizedGroups {
      kernels.unit_slices(
        count, dimension, normalizedGroups, Similarity.shortestSlice, rows, rows, lengths)
    }
    body(rows, dimension)
  }
}
