import AttentionCUDA
import AttentionCUDAKernels
import AttentionTensors

extension AttentionMaps {
  /// - Parameters:
  ///   - queries: what is read.
  ///   - keys: what is read.
  ///   - values: what is read.
  ///   - tile: the rows of queries and keys that are copied at once.
  ///   - device: whose unit reads.
  init(
    queries: DeviceRows, keys: DeviceRows, values: DeviceRows, _ tile: TileRows,
    _ device: CUDADevice
  ) throws {
    self.init(
      queries: try queries.map(rows: tile.queries, on: device),
      keys: try keys.map(rows: tile.keys, on: device),
      values: try values.map(rows: tile.keys, on: device))
  }

  init(_ rows: FlashRows, _ tile: TileRows, _ device: CUDADevice) throws {
    try self.init(queries: rows.queries, keys: rows.keys, values: rows.values, tile, device)
  }
}

extension DeviceRows {
  /// What a map follows from. Memory is handed out again, so that the same maps come up in each step of
  /// a training.
  private struct MapKey: Hashable, Sendable {
    let base: UInt64
    let shape: Shape
    let strides: [Int]
    let dtype: DType
    let rows: Int
    let device: Int
  }

  private static let maps = Remembered<MapKey, TensorMap>()

  /// The rows in boxes of one block of a tile; of nothing, no box will be read.
  func map(rows: Int, on device: CUDADevice) throws -> TensorMap {
    guard tensor.elementCount > 0 else { return TensorMap() }
    let key = MapKey(
      base: place.base, shape: tensor.shape, strides: tensor.strides, dtype: tensor.dtype,
      rows: rows, device: device.index)
    return try Self.maps.value(of: key) {
      let size = tensor.dtype.size
      // Nobody steps along an axis of one entry, but the unit wants a multiple of 16 bytes there too.
      func stride(_ axis: Int) -> Int {
        tensor.shape[axis] <= 1 ? bank_bytes : tensor.strides[axis] * size
      }
      return try TensorMap(
        base: place.base, shape: tensor.shape.dimensions,
        strides: (batch: stride(0), row: stride(1), head: stride(2)),
        isBFloat16: tensor.dtype == .bfloat16, rows: rows, columns: bank_bytes / size,
        on: device)
    }
  }
}
