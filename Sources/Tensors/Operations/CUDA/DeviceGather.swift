/// Rows of a table on a GPU, by `tensors/gather.cu`, and their gradient.
extension Tensor {
  private static let threads = 256
  private static let groupSize = 4

  /// Rows of this [rows, width] tensor at `indices`, contiguous int32 on the same GPU.
  func gatheredOnDevice(_ indices: Tensor) throws -> Tensor {
    let source = try contiguous()
    let (rows, width) = (shape[0], shape[1])
    let result = try Tensor.onDevice(
      Shape(indices.shape + [width]), dtype: dtype, device: device)
    let groups = indices.elementCount * ((width + Self.groupSize - 1) / Self.groupSize)
    try withExtendedLifetime((source, indices)) {
      try DeviceQueue.shared(for: device).launch(
        "tensors/gather", blocks: (groups + Self.threads - 1) / Self.threads,
        threads: Self.threads,
        GatherParameters(
          x: source.deviceAddress(), indices: indices.deviceAddress(), y: result.deviceAddress(),
          count: Int64(indices.elementCount), rows: Int32(rows), width: Int32(width),
          size: Int32(dtype.size)))
    }
    return result
  }

  /// The sum of these rows, [count, width], at the places `indices` of `rows` rows, in float32 or
  /// float64: rows of one index are added in the order of the indices, whatever the device.
  func addingRowsOnDevice(to indices: Tensor, of rows: Int) throws -> Tensor {
    let source = try contiguous()
    let (count, width) = (shape[0], shape[1])
    let queue = try DeviceQueue.shared(for: device)
    let dtype: DType = dtype == .float64 ? .float64 : .float32
    let result = try Tensor.clearedOnDevice([rows, width], dtype: dtype, device: device)
    guard count > 0, width > 0 else { return result }
    let keys = try Self.orderedKeys(indices, queue)
    let stretch = 64
    let stretches = (count + stretch - 1) / stretch
    let carried = try Tensor.onDevice([stretches, width], dtype: dtype, device: device)
    let columns = (width + Self.groupSize - 1) / Self.groupSize
    var parameters = ScatterParameters(
      keys: try keys.deviceAddress(), gradient: try source.deviceAddress(),
      y: try result.deviceAddress(), carried: try carried.deviceAddress(), count: Int64(count),
      rows: Int32(rows), width: Int32(width), type: self.dtype.kernelType, isSecond: 0)
    for isSecond in 0...1 {
      parameters.isSecond = Int32(isSecond)
      try withExtendedLifetime((keys, source, carried)) {
        try queue.launch(
          "tensors/scatter", definitions: [dtype.kernelNumber],
          grid: (stretches, (columns + Self.threads - 1) / Self.threads, 1),
          threads: Self.threads, parameters)
      }
    }
    return result
  }

  /// The places of `indices` ordered by index and then by place, as keys of `tensors/sort.cu`.
  private static func orderedKeys(_ indices: Tensor, _ queue: DeviceQueue) throws -> Tensor {
    let count = indices.elementCount
    func fresh() throws -> Tensor {
      try .onDevice([count], dtype: .int64, device: indices.device)
    }
    var (source, target) = (try fresh(), try fresh())
    let firstRun = 256
    var run = 0
    while true {
      try withExtendedLifetime((indices, source)) {
        try queue.launch(
          "tensors/sort", blocks: (count + threads - 1) / threads, threads: threads,
          SortParameters(
            indices: indices.deviceAddress(), source: source.deviceAddress(),
            target: target.deviceAddress(), count: Int64(count), run: Int64(run)))
      }
      run = run == 0 ? firstRun : 2 * run
      if run >= count { return target }
      swap(&source, &target)
    }
  }

  /// As in `tensors/gather.cu`.
  private struct GatherParameters: BitwiseCopyable {
    var x: UInt64
    var indices: UInt64
    var y: UInt64
    var count: Int64
    var rows: Int32
    var width: Int32
    var size: Int32
    var unused: Int32 = 0
  }

  /// As in `tensors/sort.cu`.
  private struct SortParameters: BitwiseCopyable {
    var indices: UInt64
    var source: UInt64
    var target: UInt64
    var count: Int64
    var run: Int64
  }

  /// As in `tensors/scatter.cu`.
  private struct ScatterParameters: BitwiseCopyable {
    var keys: UInt64
    var gradient: UInt64
    var y: UInt64
    var carried: UInt64
    var count: Int64
    var rows: Int32
    var width: Int32
    var type: Int32
    var isSecond: Int32
  }
}
