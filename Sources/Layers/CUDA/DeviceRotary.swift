import AttentionCUDA
import AttentionTensors

/// Rotary positions on a device.
struct DeviceRotary {
  /// Int32 [batch · length], on the device.
  private let positions: Tensor
  private let tables: RotaryTables

  private static let threads = 256
  /// Pairs a thread turns, as in `tile/numbers.cuh`.
  private static let groupSize = 4

  init(_ positions: Tensor, _ tables: RotaryTables) throws {
    self.positions = try positions.contiguous()
    self.tables = tables
  }

  /// Turns `x`, [batch, length, heads, dimension].
  ///
  /// - Parameter direction: 1, or −1 to turn back.
  func turn(_ x: Tensor, direction: Float) throws -> Tensor {
    // The numbers of a head must be neighbours.
    let source = x.strides[3] == 1 ? x : try x.contiguous()
    let result = try Tensor.onDevice(x.shape, dtype: x.dtype, device: x.device)
    let half = x.shape[3] / 2
    let groups =
      x.shape[0] * x.shape[1] * x.shape[2] * ((half + Self.groupSize - 1) / Self.groupSize)
    try withExtendedLifetime([source, positions, tables.cosines, tables.sines, result]) {
      try DeviceQueue.shared(for: x.device).launch(
        "layers/rotary", element: x.dtype, blocks: (groups + Self.threads - 1) / Self.threads,
        threads: Self.threads,
        Parameters(
          x: source.deviceAddress(), positions: positions.deviceAddress(),
          cosines: tables.cosines.deviceAddress(), sines: tables.sines.deviceAddress(),
          y: result.deviceAddress(), batchStride: Int64(source.strides[0]),
          tokenStride: Int64(source.strides[1]), headStride: Int64(source.strides[2]),
          groups: Int64(groups), length: Int32(x.shape[1]), heads: Int32(x.shape[2]),
          half: Int32(half), direction: direction))
    }
    return result
  }

  /// As in `layers/rotary.cu`.
  private struct Parameters: BitwiseCopyable {
    var x: UInt64
    var positions: UInt64
    var cosines: UInt64
    var sines: UInt64
    var y: UInt64
    var batchStride: Int64
    var tokenStride: Int64
    var headStride: Int64
    var groups: Int64
    var length: Int32
    var heads: Int32
    var half: Int32
    var direction: Float
  }
}
