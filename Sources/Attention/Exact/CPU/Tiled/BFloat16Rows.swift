import AttentionCPUKernels
import AttentionTensors

/// Reads rows of one head of a bfloat16 tensor, optionally normalised.
struct BFloat16Rows: Sendable {
  let dimension: Int
  private let tensor: Tensor
  private let elements: HostElements
  /// The slices to normalise and round; one group is left unchanged, and only its inverse norm is computed.
  private let groups: Int?

  init(_ tensor: Tensor, _ groups: Int?) throws {
    self.tensor = tensor.strides[3] == 1 ? tensor : try tensor.contiguous()
    elements = try self.tensor.hostElements()
    self.groups = groups
    dimension = tensor.shape[3]
  }

  /// Calls `body` with the rows, their stride, and their inverse norms.
  func withRows(
    batch: Int, head: Int, start: Int, count: Int, _ kernels: cpu_kernels,
    _ body: (UnsafePointer<UInt16>, Int, UnsafePointer<Float>) -> Void
  ) throws {
    guard let groups else {
      withUnsafeTemporaryAllocation(of: Float.self, capacity: 1) { none in
        let first = place(batch, head, start)
        prefetch(first, count, kernels)
        body(first, tensor.strides[1], none.baseAddress!)
      }
      return
    }
    let scratch = try Scratch(floats: count * (dimension + 1) / 2 + 1 + count * groups)
    let rows = UnsafeMutableRawPointer(scratch.base).assumingMemoryBound(to: UInt16.self)
    let lengths = scratch.base + count * (dimension + 1) / 2 + 1
    read(
      batch: batch, head: head, start: start, count: count, into: rows, stride: dimension,
      lengths: lengths, kernels)
    body(rows, dimension, lengths)
  }

  /// Copies rows to `target`, `stride` apart. With one group the rows are unchanged and `lengths` [count]
  /// receives their inverse norms; with more, the slices are normalised and rounded.
  func read(
    batch: Int, head: Int, start: Int, count: Int, into target: UnsafeMutablePointer<UInt16>,
    stride: Int, lengths: UnsafeMutablePointer<Float>, _ kernels: cpu_kernels
  ) {
    let first = place(batch, head, start)
    prefetch(first, count, kernels)
    for r in 0..<count {
      (target + r * stride).update(from: first + r * tensor.strides[1], count: dimension)
    }
    guard let groups else { return }
    withUnsafeTemporaryAllocation(of: Float.self, capacity: dimension * 2) { row in
      let x = row.baseAddress!
      for r in 0..<count {
        kernels.widen(CPU_BF16, dimension, target + r * stride, x)
        if groups > 1 {
          kernels.unit_slices(1, dimension, groups, Similarity.shortestSlice, x, x, x + dimension)
          kernels.narrow(CPU_BF16, dimension, x, target + r * stride)
        } else {
          let length = kernels.dot(dimension, x, x).squareRoot()
          lengths[r] = length < Similarity.shortestSlice ? 0 : 1 / length
        }
      }
    }
  }

  /// See ``HeadRows/prefetch(batch:head:start:count:_:)``.
  private func prefetch(_ rows: UnsafePointer<UInt16>, _ count: Int, _ kernels: cpu_kernels) {
    let size = MemoryLayout<UInt16>.size
    kernels.prefetch(count, dimension * size, rows, tensor.strides[1] * size, 0)
  }

  private func place(_ batch: Int, _ head: Int, _ start: Int) -> UnsafePointer<UInt16> {
    elements.base.assumingMemoryBound(to: UInt16.self)
      + batch * tensor.strides[0] + start * tensor.strides[1] + head * tensor.strides[2]
  }
}
