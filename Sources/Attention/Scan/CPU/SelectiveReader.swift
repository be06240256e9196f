import AttentionCPUKernels
import AttentionTensors

/// The tensors of a selective scan in the form that its float32 kernels read.
struct SelectiveReader: @unchecked Sendable {
  let call: SelectiveScanArguments
  let kernels: cpu_kernels
  let inputs: ScanRows
  let step: ScanRows
  /// [d, s]
  let stateMatrix: UnsafePointer<Float>
  /// [b, t, s] each
  let inputMatrix, outputMatrix: UnsafePointer<Float>
  /// [d] each
  let skip, stepBias: UnsafePointer<Float>?

  init(_ call: SelectiveScanArguments) throws {
    // The call keeps the memory alive.
    func address(_ tensor: Tensor) throws -> UnsafePointer<Float> {
      try tensor.withUnsafePointer(to: Float.self) { $0 }
    }
    self.call = call
    kernels = InstructionSet.current.kernels
    inputs = try ScanRows(reading: call.inputs)
    step = try ScanRows(reading: call.step)
    stateMatrix = try address(call.stateMatrix)
    inputMatrix = try address(call.inputMatrix)
    outputMatrix = try address(call.outputMatrix)
    skip = try call.skip.map(address)
    stepBias = try call.stepBias.map(address)
  }

  /// Copies rows of `channels` to `scratch` in float32. Even float32 rows are copied: in place, pages apart,
  /// adjacent rows compete for the same few sets of the first cache.
  func load(
    _ rows: ScanRows, _ row: Int, _ tokens: Range<Int>, _ channels: Range<Int>,
    _ scratch: UnsafeMutablePointer<Float>
  ) -> (base: UnsafePointer<Float>, stride: Int) {
    kernels.load_rows(
      rows.type, tokens.count, channels.count, rows.at(row, tokens.lowerBound, channels.lowerBound),
      rows.stride, 1, scratch)
    return (UnsafePointer(scratch), channels.count)
  }

  /// Computes Δ of the tokens, as contiguous rows in `target`, from the steps `raw`.
  func makeStep(
    _ raw: (base: UnsafePointer<Float>, stride: Int), _ count: Int, _ channels: Range<Int>,
    _ target: UnsafeMutablePointer<Float>
  ) -> (base: UnsafePointer<Float>, stride: Int) {
    let bias = stepBias.map { $0 + channels.lowerBound }
    if call.problem.appliesSoftplus {
      kernels.softplus(count, channels.count, raw.base, raw.stride, bias, target)
      return (UnsafePointer(target), channels.count)
    }
    guard let bias else { return raw }
    for row in 0..<count {
      kernels.binary_f32(
        CPU_ADD, channels.count, raw.base + row * raw.stride, 1, bias, 1,
        target + row * channels.count)
    }
    return (UnsafePointer(target), channels.count)
  }

  /// Writes contiguous rows of `channels`.
  func store(
    _ source: UnsafePointer<Float>, _ row: Int, _ tokens: Range<Int>, _ channels: Range<Int>,
    to rows: ScanRows
  ) {
    kernels.store_rows(
      rows.type, call.problem.writesPastCaches, tokens.count, channels.count, source,
      rows.at(row, tokens.lowerBound, channels.lowerBound), rows.stride)
  }

  /// Queues the inputs and steps of the next tokens for prefetching, and other rows that are read or written
  /// there.
  func prefetch(
    _ row: Int, _ tokens: Range<Int>, _ channels: Range<Int>, reading: [ScanRows],
    writing: [ScanRows]
  ) {
    for rows in [inputs, step] + reading { rows.prefetch(row, tokens, channels, kernels) }
    guard call.problem.writesPastCaches == 0 else { return }
    for rows in writing { rows.prefetch(row, tokens, channels, kernels, toWrite: true) }
  }
}
