import AttentionCUDA

extension Tensor {
  /// ``softmax()`` of float32 or half precision on a device.
  func deviceSoftmax() throws -> Tensor {
    let source = try detached().contiguous()
    let result = try Tensor.onDevice(shape, dtype: dtype, device: device)
    let teams = RowTeams(of: source)
    try teams.launch(
      "layers/softmax", dtype, on: device, keeping: [source, result],
      SoftmaxParameters(
        x: source.deviceAddress(), y: result.deviceAddress(), rows: Int64(teams.rows),
        n: Int32(teams.length), rowThreads: Int32(teams.rowThreads)))
    return result.recorded(from: [self]) { gradient, history in
      if history.isRecorded { return [try history.output(result).softmaxGradient(gradient)] }
      let gradient = try gradient.contiguous()
      let dx = try Tensor.onDevice(result.shape, dtype: result.dtype, device: result.device)
      try teams.launch(
        "layers/softmax_backward", result.dtype, on: result.device,
        keeping: [result, gradient, dx],
        SoftmaxBackwardParameters(
          y: result.deviceAddress(), gradient: gradient.deviceAddress(),
          xGradient: dx.deviceAddress(), rows: Int64(teams.rows), n: Int32(teams.length),
          rowThreads: Int32(teams.rowThreads)))
      return [dx]
    }
  }
}

/// As in `layers/softmax.cu`.
private struct SoftmaxParameters: BitwiseCopyable {
  var x: UInt64
  var y: UInt64
  var rows: Int64
  var n: Int32
  var rowThreads: Int32
}

/// As in `layers/softmax_backward.cu`.
private struct SoftmaxBackwardParameters: BitwiseCopyable {
  var y: UInt64
  var gradient: UInt64
  var xGradient: UInt64
  var rows: Int64
  var n: Int32
  var rowThreads: Int32
}
