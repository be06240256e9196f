import AttentionCUDA
import AttentionCUDAKernels

extension Tensor {
  /// ``softmax()`` of float32 or half precision on a device.
  func deviceSoftmax() throws -> Tensor {
    let source = try detached().contiguous()
    let result = try Tensor.onDevice(shape, dtype: dtype, device: device)
    let teams = RowTeams(of: source)
    try teams.launch(
      "layers/softmax", dtype, on: device, keeping: [source, result],
      LayersSoftmaxParameters(
        x: source.deviceAddress(), y: result.deviceAddress(), rows: Int64(teams.rows),
        n: Int32(teams.length), row_threads: Int32(teams.rowThreads)))
    return result.recorded(from: [self]) { gradient, history in
      if history.isRecorded { return [try history.output(result).softmaxGradient(gradient)] }
      let gradient = try gradient.contiguous()
      let dx = try Tensor.onDevice(result.shape, dtype: result.dtype, device: result.device)
      try teams.launch(
        "layers/softmax_backward", result.dtype, on: result.device,
        keeping: [result, gradient, dx],
        LayersSoftmaxBackwardParameters(
          y: result.deviceAddress(), gradient: gradient.deviceAddress(),
          x_gradient: dx.deviceAddress(), rows: Int64(teams.rows), n: Int32(teams.length),
          row_threads: Int32(teams.rowThreads)))
      return [dx]
    }
  }
}
