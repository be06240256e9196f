import AttentionCUDAKernels

extension Tensor {
  /// A contiguous copy on this tensor's GPU, made by `tensors/copy.cu`.
  func copiedOnDevice() throws -> Tensor {
    let result = try Tensor.onDevice(shape, dtype: dtype, device: device)
    try copyElements(to: result)
    return result
  }

  /// Writes the elements to the memory of `target`, a view of this shape on the same GPU that nobody
  /// reads yet.
  func copyElements(to target: Tensor) throws {
    let layout = try TensorsLayout(shape: shape, strides: [target.strides, strides])
    try withExtendedLifetime((self, target)) {
      try DeviceQueue.shared(for: device).launch(
        "tensors/copy", blocks: layout.blocks, threads: TensorsLayout.threads,
        TensorsCopyParameters(
          source: deviceAddress(), target: target.deviceAddress(), layout: layout,
          size: Int32(dtype.size)))
    }
  }
}
