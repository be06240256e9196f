import AttentionCUDAInterface
import AttentionCUDAKernels

/// A TMA descriptor of a tensor with four axes; all zeros for kernels that do not read it.
public typealias TensorMap = AttentionCUDAKernels.TensorMap

extension TensorMap {
  /// A map by which boxes of `columns` × `rows` numbers of one head are copied, swizzled as
  /// `BlockedTile` is.
  ///
  /// - Parameters:
  ///   - base: the address of the first element, a multiple of 16.
  ///   - shape: of the tensor, [batch, length, heads, dimension].
  ///   - strides: of batch, length and heads, in bytes, multiples of 16.
  ///   - isBFloat16: whether elements are bfloat16; otherwise they are float16.
  ///   - rows: of a box, at most 256.
  ///   - heads: of a box.
  ///   - columns: of a box, 128 bytes together.
  ///   - device: whose driver encodes it.
  /// - Throws: ``CUDAError/call(_:code:text:)`` if the driver cannot encode the map.
  public init(
    base: UInt64, shape: [Int], strides: (batch: Int, row: Int, head: Int), isBFloat16: Bool,
    rows: Int, heads: Int = 1, columns: Int, on device: CUDADevice
  ) throws {
    // Innermost first.
    let sizes = [shape[3], shape[2], shape[1], shape[0]].map { UInt64($0) }
    let distances = [strides.head, strides.row, strides.batch].map { UInt64($0) }
    let box = [UInt32(columns), UInt32(heads), UInt32(rows), 1]
    let steps: [UInt32] = [1, 1, 1, 1]
    let type = isBFloat16 ? CUDA_MAP_BFLOAT16 : CUDA_MAP_FLOAT16
    self = try withUnsafeTemporaryAllocation(
      byteCount: MemoryLayout<Self>.size, alignment: tensor_map_alignment
    ) { memory in
      try device.call("cuTensorMapEncodeTiled") {
        $0.cuTensorMapEncodeTiled(
          memory.baseAddress, Int32(type), UInt32(sizes.count),
          UnsafeMutableRawPointer(bitPattern: UInt(base)), sizes, distances, box, steps, 0,
          Int32(CUDA_MAP_SWIZZLE_128), Int32(CUDA_MAP_PROMOTION_256), 0)
      }
      return memory.load(as: Self.self)
    }
  }
}
