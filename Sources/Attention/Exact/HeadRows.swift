import CPUKernels
import Tensors

/// Reads rows of one head from a [batch, length, heads, dimension] tensor as contiguous float32,
/// whatever its strides and dtype.
struct HeadRows: Sendable {
  let dimension: Int
  private let tensor: Tensor
  private let elements: HostElements
  private let type: cpu_float_type

  /// - Parameter type: the C loops' name of the tensor's dtype.
  init(_ tensor: Tensor, _ type: cpu_float_type) throws {
    // Rows with gaps between their elements are rare: they are copied once, before.
    self.tensor = tensor.strides[3] == 1 ? tensor : try tensor.contiguous()
    elements = try self.tensor.hostElements()
    self.type = type
    dimension = tensor.shape[3]
  }

  /// Elements between the same row of neighbouring heads.
  var headStride: Int { tensor.strides[2] }

  /// Starts to bring `count` rows from `start` on near. They lie apart by all heads, a pattern that
  /// processors do not foresee: read one after the other, each would be waited for.
  func prefetch(batch: Int, head: Int, start: Int, count: Int, _ kernels: cpu_kernels) {
    let size = tensor.dtype.size
    withRows(batch: batch, head: head, start: start) { rows, _, stride in
      kernels.prefetch(count, dimension * size, rows, stride * size, 0)
    }
  }

  /// Writes `count` rows from `start` on, one behind the other.
  func read(
    batch: Int, head: Int, start: Int, count: Int, into target: UnsafeMutablePointer<Float>,
    _ kernels: cpu_kernels
  ) {
    prefetch(batch: batch, head: head, start: start, count: count, kernels)
    withRows(batch: batch, head: head, start: start) { rows, type, stride in
      for row in 0..<count {
        kernels.widen(
          type, dimension, rows + row * stride * tensor.dtype.size, target + row * dimension)
      }
    }
  }

  /// The rows of one head where they lie: calls `body` with the address of row `start`, the C loops'
  /// name of its dtype, and the distance between rows.
  func withRows(
    batch: Int, head: Int, start: Int,
    _ body: (_ rows: UnsafeRawPointer, _ type: cpu_float_type, _ stride: Int) -> Void
  ) {
    let strides = tensor.strides
    let offset = batch * strides[0] + start * strides[1] + head * strides[2]
    body(elements.base + offset * tensor.dtype.size, type, strides[1])
  }

  /// Calls `body` with rows in float32 and the distance between them: where they lie if nothing is to
  /// be done to them, otherwise in memory that lasts as long as the call.
  func withFloats(
    batch: Int, head: Int, start: Int, count: Int, normalizedGroups: Int?, _ kernels: cpu_kernels,
    _ body: (_ rows: UnsafePointer<Float>, _ stride: Int) -> Void
  ) throws {
    guard type != CPU_F32 || normalizedGroups != nil else {
      prefetch(batch: batch, head: head, start: start, count: count, kernels)
      withRows(batch: batch, head: head, start: start) { rows, _, stride in
        body(rows.assumingMemoryBound(to: Float.self), stride)
      }
      return
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
