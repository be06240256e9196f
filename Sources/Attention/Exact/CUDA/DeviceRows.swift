import AttentionCUDA
import AttentionCUDAKernels
import AttentionTensors

/// A [batch, length, heads, dimension] tensor on a device as kernels read and write it.
struct DeviceRows {
  /// The rows of a tile lie within 32-bit offsets.
  private static let farthest = Int(Int32.max) / 256

  /// Rows of the pitch that kernels are compiled for.
  let tensor: Tensor
  let place: AttentionRows

  /// The tensor itself where kernels can read it as it lies: rows of `pitch` numbers that begin at
  /// multiples of 16 bytes; otherwise a copy, filled up with zeros.
  init(_ tensor: Tensor, paddedTo pitch: Int) throws {
    let missing = pitch - tensor.shape[3]
    if missing > 0 {
      let zeros = try Tensor.zeros(
        Shape(tensor.shape.dropLast() + [missing]), dtype: tensor.dtype)
      self.tensor = try Tensor.concatenated([tensor, zeros.moved(to: tensor.device)], 3)
    } else {
      self.tensor = try Self.isReadable(tensor) ? tensor : tensor.copied()
    }
    place = try AttentionRows(self.tensor)
  }

  /// Fresh rows for a result of `shape`, or those of `wanted` where kernels can write them.
  init(
    fresh shape: Shape, paddedTo pitch: Int, _ dtype: DType, on device: Device,
    into wanted: Tensor? = nil
  ) throws {
    let isWritable = try wanted.map { try $0.deviceAddress() % UInt64(chunk_bytes) == 0 }
    tensor = try .onDevice(
      Shape(shape.dropLast() + [pitch]), dtype: dtype, device: device,
      into: isWritable == true ? wanted : nil)
    place = try AttentionRows(tensor)
  }

  private static func isReadable(_ tensor: Tensor) throws -> Bool {
    guard tensor.strides[3] == 1 || tensor.elementCount == 0 else { return false }
    let bytes = tensor.dtype.size
    let areAligned = (0..<3).allSatisfy {
      tensor.shape[$0] <= 1 || tensor.strides[$0] * bytes % chunk_bytes == 0
    }
    return try areAligned && tensor.strides[1] <= farthest
      && tensor.deviceAddress() % UInt64(chunk_bytes) == 0
  }

  /// The numbers without what fills rows up.
  func result(dimension: Int) throws -> Tensor {
    dimension == tensor.shape[3] ? tensor : try tensor.sliced(3, 0..<dimension).contiguous()
  }
}

extension AttentionRows {
  init(_ tensor: Tensor) throws {
    self.init(
      base: try tensor.deviceAddress(), batch: Int64(tensor.strides[0]),
      row: Int64(tensor.strides[1]), head: Int64(tensor.strides[2]))
  }
}

extension Tensor {
  /// Its elements one behind the other in memory of their own.
  fileprivate func copied() throws -> Tensor {
    guard isContiguous else { return try contiguous() }
    // Contiguous, but not where copies can begin.
    return try Tensor.concatenated([self], 0)
  }
}
