import AttentionCUDA
import AttentionCUDAKernels
import AttentionTensors

/// What Hopper's kernels read: the rows as they are, or, of float32, their planes; a bias; and a key mask as bits.
struct FlashMaps {
  private let queries: DeviceRows
  private let keys: DeviceRows
  private let values: DeviceRows
  private let outputGradient: DeviceRows?
  private let bias: DeviceBias?
  /// Of planes; otherwise null.
  let units: AttentionUnits
  /// Null without a mask.
  let keyWords: AttentionKeyWords

  /// Queues what makes planes and bits.
  ///
  /// - Parameters:
  ///   - rows: queries, keys and values.
  ///   - outputGradient: in the backward pass.
  ///   - operands: what holds planes and bits until they are read.
  init(
    _ inputs: ExactArguments, _ rows: FlashRows, outputGradient: DeviceRows? = nil,
    _ features: FlashFeatures, _ operands: FlashOperands
  ) throws {
    bias = try inputs.bias.map { try DeviceBias($0, operands) }
    keyWords = try AttentionKeyWords(inputs, operands)
    guard !features.element.isHalf else {
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

  func bias(_ tile: TileRows, on device: CUDADevice) throws -> TensorMap {
    try bias?.map(rows: tile.queries, on: device) ?? TensorMap()
  }
}

/// A bias as TMA copies it: in words of 16 bits, whatever it holds.
struct DeviceBias {
  /// One entry along axes that the bias is broadcast over.
  private let tensor: Tensor
  private let base: UInt64
  /// Rows of a map: where the bias is broadcast over queries, the same one many times.
  private let queries: Int

  private static let wordBytes = 2

  /// - Parameters:
  ///   - bias: [batch, heads, queries, keys], with strides of zero along axes that it is broadcast over.
  ///   - operands: what holds it, or its copy, until it is read.
  init(_ bias: Tensor, _ operands: FlashOperands) throws {
    var own = bias
    for axis in 0..<3 where own.strides[axis] == 0 && own.shape[axis] > 1 {
      own = try own.sliced(axis, 0..<1)
    }
    let (size, keys) = (bias.dtype.size, bias.shape[3])
    let isReadable =
      try own.strides[3] == 1 && own.deviceAddress() % UInt64(chunk_bytes) == 0
      && (0..<3).allSatisfy { own.shape[$0] <= 1 || own.strides[$0] * size % chunk_bytes == 0 }
    if !isReadable, own.elementCount > 0 {
      let missing = keys.rounded(up: chunk_bytes / size) - keys
      let zeros = try Tensor.zeros(Shape(own.shape.dropLast() + [missing]), dtype: bias.dtype)
      own = try Tensor.concatenated([own, zeros.moved(to: bias.device)], 3)
    }
    tensor = own
    queries = bias.shape[2]
    base = try operands.address(holding: own)
  }

  /// Boxes of `rows` queries and 128 bytes.
  func map(rows: Int, on device: CUDADevice) throws -> TensorMap {
    guard tensor.elementCount > 0 else { return TensorMap() }
    // Nobody steps along an axis of one entry, but the unit wants a multiple of 16 bytes there too.
    func stride(_ axis: Int) -> Int {
      tensor.shape[axis] <= 1 ? bank_bytes : tensor.strides[axis] * tensor.dtype.size
    }
    // The map's axes are [batch, queries, heads, words].
    let words = (tensor.shape[3] * tensor.dtype.size).pieces(of: Self.wordBytes)
    return try TensorMap(
      base: base, shape: [tensor.shape[0], queries, tensor.shape[1], words],
      strides: (
        batch: stride(0), row: tensor.shape[2] < queries ? 0 : stride(2), head: stride(1)
      ), isBFloat16: false, rows: rows, columns: bank_bytes / Self.wordBytes, on: device)
  }
}

extension AttentionKeyWords {
  /// Queues what makes bits of a key mask.
  init(_ inputs: ExactArguments, _ operands: FlashOperands) throws {
    guard let mask = inputs.keyMask, mask.elementCount > 0 else {
      self.init()
      return
    }
    let (batch, keys) = (mask.shape[0], mask.shape[1])
    // The tile of the last key may end later, and the one after it is read ahead.
    let wordBits = 32
    let pitch = keys.pieces(of: wordBits) + 2 * FlashWarpgroups.widestTile / wordBits + 1
    let size = DType.float32.size
    self.init(
      words: try operands.fresh(batch * pitch * size, "bits of a key mask"),
      kept: try operands.fresh(batch * 2 * size, "ranges of a key mask"), pitch: Int32(pitch))
    try operands.queue.launch(
      "attention/key_words", definitions: [], grid: (batch, 1, 1), threads: Int(key_words_threads),
      sharedBytes: Int(key_words_shared_bytes),
      AttentionKeyWordsParameters(
        key_mask: operands.address(mask, .bool), words: words, kept: kept, keys: Int32(keys),
        pitch: Int32(pitch)))
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
