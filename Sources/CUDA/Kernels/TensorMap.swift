import AttentionCUDAInterface

/// A tensor of four axes as Hopper's copying unit reads it, a field of kernels' parameters: `TensorMap` of
/// `tile/tma.cuh`.
///
/// A kernel's parameters begin with its maps: they must lie at multiples of 64 bytes there.
public struct TensorMap: BitwiseCopyable, Sendable {
  /// Sixteen words that the driver fills.
  private var words:
    (
      UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64,
      UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64
    ) = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)

  /// Where the driver wants a map to begin.
  private static let alignment = 64

  /// A map of nothing, for kernels that will not read it.
  public init() {}

  /// A map by which boxes of `columns` × `rows` numbers of one head are copied, swizzled as
  /// `BlockedTile` is.
  ///
  /// - Parameters:
  ///   - base: the address of the first number, a multiple of 16.
  ///   - shape: of the tensor, [batch, length, heads, dimension].
  ///   - strides: of batch, length and heads, in bytes, multiples of 16.
  ///   - isBFloat16: whether numbers are bfloat16; otherwise they are float16.
  ///   - rows: of a box, at most 256.
  ///   - columns: of a box; they have 128 bytes.
  ///   - device: whose driver encodes it.
  /// - Throws: ``CUDAError/call(_:code:text:)`` if the copying unit cannot read such a tensor.
  public init(
    base: UInt64, shape: [Int], strides: (batch: Int, row: Int, head: Int), isBFloat16: Bool,
    rows: Int, columns: Int, on device: CUDADevice
  ) throws {
    // Innermost first.
    let sizes = [shape[3], shape[2], shape[1], shape[0]].map { UInt64($0) }
    let distances = [strides.head, strides.row, strides.batch].map { UInt64($0) }
    let box = [UInt32(columns), 1, UInt32(rows), 1]
    let steps: [UInt32] = [1, 1, 1, 1]
    let type = isBFloat16 ? CUDA_MAP_BFLOAT16 : CUDA_MAP_FLOAT16
    self = try withUnsafeTemporaryAllocation(
      byteCount: MemoryLayout<Self>.size, alignment: Self.alignment
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
