import AttentionCUDA
import AttentionCUDAKernels
import AttentionTensors

/// What Hopper's kernels read: the rows as they are, or, of float32, their planes.
struct FlashMaps {
  private let queries: DeviceRows
  private let keys: DeviceRows
  private let values: DeviceRows
  private let outputGradient: DeviceRows?
  /// Of planes; otherwise null.
  let units: AttentionUnits

  /// Queues what makes the planes.
  ///
  /// - Parameters:
  ///   - rows: queries, keys and values.
  ///   - outputGradient: in the backward pass.
  ///   - operands: what holds planes until they are read.
  init(
    _ rows: FlashRows, outputGradient: DeviceRows? = nil, _ element: FlashElement,
    _ operands: FlashOperands
  ) throws {
    guard !element.isHalf else {
      (queries, keys, values) = (rows.queries, rows.keys, rows.values)
      self.outputGradient = outputGradient
      units = AttentionUnits()
      return
    }
    let queries = try FlashPlanes(rows.queries, operands)
    let keys = try FlashPlanes(rows.keys, operands)
    let values = try FlashPlanes(rows.values, operands)
    let slope = try outputGradient.map { try FlashPlanes($0, operands) }
    (self.queries, self.keys, self.values) = (queries.rows, keys.rows, values.rows)
    self.outputGradient = slope?.rows
    units = AttentionUnits(
      queries: queries.units, keys: keys.units, values: values.units,
      output_gradient: slope?.units ?? 0)
  }

  /// The tensors in boxes of a tile's rows, for the unit of a device.
  func maps(_ tile: TileRows, on device: CUDADevice) throws -> AttentionMaps {
    AttentionMaps(
      queries: try queries.map(rows: tile.queries, on: device),
      keys: try keys.map(rows: tile.keys, on: device),
      values: try values.map(rows: tile.keys, on: device))
  }

  func outputGradient(_ tile: TileRows, on device: CUDADevice) throws -> TensorMap {
    try outputGradient?.map(rows: tile.queries, on: device) ?? TensorMap()
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
    let heads: Int
    let device: Int
  }

  private static let maps = Remembered<MapKey, TensorMap>()

  /// The rows in boxes of one block of a tile, with adjacent rows of `heads` heads; of nothing, no box will be read.
  func map(rows: Int, heads: Int = 1, on device: CUDADevice) throws -> TensorMap {
    guard tensor.elementCount > 0 else { return TensorMap() }
    let key = MapKey(
      base: place.base, shape: tensor.shape, strides: tensor.strides, dtype: tensor.dtype,
      rows: rows, heads: heads, device: device.index)
    return try Self.maps.value(of: key) {
      let size = tensor.dtype.size
      // Nobody steps along an axis of one entry, but the unit wants a multiple of 16 bytes there too.
      func stride(_ axis: Int) -> Int {
        tensor.shape[axis] <= 1 ? bank_bytes : tensor.strides[axis] * size
      }
      return try TensorMap(
        base: place.base, shape: tensor.shape.dimensions,
        strides: (batch: stride(0), row: stride(1), head: stride(2)),
        isBFloat16: tensor.dtype == .bfloat16, rows: rows, heads: heads,
        columns: bank_bytes / size, on: device)
    }
  }
}
