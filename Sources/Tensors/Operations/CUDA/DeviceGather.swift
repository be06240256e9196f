import AttentionCUDAKernels

/// Rows of a table on a GPU, by `tensors/gather.cu`, and their gradient.
extension Tensor {
  private static let threads = 256

  /// Rows of this [rows, width] tensor at `indices`, contiguous int32 on the same GPU.
  func gatheredOnDevice(_ indices: Tensor) throws -> Tensor {
    let source = try contiguous()
    let (rows, width) = (shape[0], shape[1])
    let result = try Tensor.onDevice(
      Shape(indices.shape + [width]), dtype: dtype, device: device)
    let groups = indices.elementCount * width.pieces(of: group_size)
    try withExtendedLifetime((source, indices)) {
      try DeviceQueue.shared(for: device).launch(
        "tensors/gather", blocks: groups.pieces(of: Self.threads),
        threads: Self.threads,
        TensorsGatherParameters(
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
    let stretches = count.pieces(of: scatter_stretch)
    let carried = try Tensor.onDevice([stretches, width], dtype: dtype, device: device)
    let columns = width.pieces(of: group_size)
    var parameters = TensorsScatterParameters(
      keys: try keys.deviceAddress(), gradient: try source.deviceAddress(),
      y: try result.deviceAddress(), carried: try carried.deviceAddress(), count: Int64(count),
      rows: Int32(rows), width: Int32(width), type: self.dtype.kernelType, is_second: 0)
    for isSecond in 0...1 {
      parameters.is_second = Int32(isSecond)
      try withExtendedLifetime((keys, source, carried)) {
        try queue.launch(
          "tensors/scatter", definitions: [dtype.kernelNumber],
          grid: (stretches, columns.pieces(of: Self.threads), 1),
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
    var run = 0
    while true {
      try withExtendedLifetime((indices, source)) {
        try queue.launch(
          "tensors/sort", blocks: count.pieces(of: threads), threads: threads,
          TensorsSortParameters(
            indices: indices.deviceAddress(), source: source.deviceAddress(),
            target: target.deviceAddress(), count: Int64(count), run: Int64(run)))
      }
      run = run == 0 ? sort_first_run : 2 * run
      if run >= count { return target }
      swap(&source, &target)
    }
  }
}
