import AttentionCUDA
import AttentionCUDAKernels
import AttentionTensors

/// Rotary position embedding on a device.
struct DeviceRotary {
  /// Int32 [batch · length], on the device.
  private let positions: Tensor
  private let tables: RotaryTables

  private static let threads = 256

  init(_ positions: Tensor, _ tables: RotaryTables) throws {
    self.positions = try positions.contiguous()
    self.tables = tables
  }

  /// Rotates `x`, [batch, length, heads, dimension].
  ///
  /// - Parameter direction: 1, or −1 for the inverse rotation.
  func turn(_ x: Tensor, direction: Float) throws -> Tensor {
    // The elements of a head must be adjacent.
    let source = x.strides[3] == 1 ? x : try x.contiguous()
    let result = try Tensor.onDevice(x.shape, dtype: x.dtype, device: x.device)
    let half = x.shape[3] / 2
    let groups =
      x.shape[0] * x.shape[1] * x.shape[2] * half.pieces(of: group_size)
    try withExtendedLifetime([source, positions, tables.cosines, tables.sines, result]) {
      try DeviceQueue.shared(for: x.device).launch(
        "layers/rotary", element: x.dtype, blocks: groups.pieces(of: Self.threads),
        threads: Self.threads,
        LayersRotaryParameters(
          x: source.deviceAddress(), positions: positions.deviceAddress(),
          cosines: tables.cosines.deviceAddress(), sines: tables.sines.deviceAddress(),
          y: result.deviceAddress(), batch_stride: Int64(source.strides[0]),
          token_stride: Int64(source.strides[1]), head_stride: Int64(source.strides[2]),
          groups: Int64(groups), length: Int32(x.shape[1]), heads: Int32(x.shape[2]),
          half: Int32(half), direction: direction))
    }
    return result
  }
}
