import AttentionCUDAKernels

extension Philox {
  /// Skips `count` numbers of the stream.
  public mutating func skip(_ count: Int) { position &+= UInt64(count) }
}

extension Tensor {
  /// The next 64-bit numbers of a stream, as int64 with the same bits, in row-major order: the same on every
  /// device.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if the shape is invalid.
  public static func randomBits(
    _ shape: Shape, using generator: inout Philox, device: Device = .cpu
  ) throws -> Tensor {
    let count = try shape.validated(elementSize: DType.int64.size)
    if device != .cpu {
      let result = try Tensor.onDevice(shape, dtype: .int64, device: device)
      try DeviceQueue.shared(for: device).launch(
        "tensors/philox", blocks: count.pieces(of: TensorsLayout.threads),
        threads: TensorsLayout.threads,
        TensorsPhiloxParameters(
          y: result.deviceAddress(), count: Int64(count), key: generator.key,
          position: generator.position))
      generator.skip(count)
      return result
    }
    return try Tensor.filling(shape, as: Int64.self) { values in
      for place in 0..<count { values[place] = Int64(bitPattern: generator.next()) }
    }
  }
}
