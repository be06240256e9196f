import CPUKernels
import Tensors

/// Reads rows of one head from a [batch, length, heads, dimension] tensor as contiguous float32,
/// whatever its strides and dtype.
struct HeadRows: Sendable {
  let dimension: Int
  private let tensor: Tensor
  private let type: cpu_float_type

  /// - Parameter type: the C loops' name of the tensor's dtype.
  init(_ tensor: Tensor, _ type: cpu_float_type) throws {
    // Rows with gaps between their elements are rare: they are copied once, before.
    self.tensor = tensor.strides[3] == 1 ? tensor : try tensor.contiguous()
    self.type = type
    dimension = tensor.shape[3]
  }

  /// Writes `count` rows from `start` on, one behind the other.
  func read(
    batch: Int, head: Int, start: Int, count: Int, into target: UnsafeMutablePointer<Float>,
    _ kernels: cpu_kernels
  ) {
    let strides = tensor.strides
    let size = tensor.dtype.size
    tensor.withUnsafeRawPointer { base in
      var source =
        base + (batch * strides[0] + start * strides[1] + head * strides[2]) * size
      for row in 0..<count {
        kernels.widen(type, dimension, source, target + row * dimension)
        source += strides[1] * size
      }
    }
  }

  /// Calls `body` with `count` rows in float32 and the distance between them: where they lie, or
  /// copied to `scratch` [count, dimension] if they are of half precision or `copies` is true.
  func withRows(
    batch: Int, head: Int, start: Int, count: Int, scratch: UnsafeMutablePointer<Float>,
    copies: Bool, _ kernels: cpu_kernels, _ body: (UnsafePointer<Float>, Int) -> Void
  ) {
    guard type == CPU_F32, !copies else {
      read(batch: batch, head: head, start: start, count: count, into: scratch, kernels)
      body(scratch, dimension)
      return
    }
    let strides = tensor.strides
    tensor.withUnsafeRawPointer { base in
      body(
        base.assumingMemoryBound(to: Float.self)
          + (batch * strides[0] + start * strides[1] + head * strides[2]), strides[1])
    }
  }
}
