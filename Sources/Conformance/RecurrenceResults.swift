import AttentionTensors

extension [String: Tensor] {
  /// The results of `operation` on these inputs: its output and final state by name and, with gradients,
  /// `<input>_gradient` for every input, given the gradients of the two. Everything is computed on `device`.
  func results(
    isExact: Bool, on device: Device = .cpu, gradients: Bool, _ outputGradient: Tensor,
    _ finalStateGradient: Tensor?,
    _ operation: ([String: Tensor]) throws -> (output: Tensor, finalState: Tensor)
  ) throws -> [String: Tensor] {
    var inputs = try moved(to: device)
    if isExact { inputs = try inputs.mapValues { try $0.cast(to: .float64) } }
    if gradients { inputs = inputs.mapValues { $0.tracked() } }
    let (output, finalState) = try operation(inputs)
    var results = ["output": output, "final_state": finalState]
    if gradients {
      let names = inputs.keys.sorted()
      let computed = try Tensor.gradients(
        of: names.map { inputs[$0]! },
        through: [
          (output, outputGradient.moved(to: device).cast(to: output.dtype)),
          (finalState, finalStateGradient?.moved(to: device).cast(to: finalState.dtype)),
        ])
      for (name, gradient) in zip(names, computed) { results[name + "_gradient"] = gradient }
    }
    return try results.mapValues { try $0.detached().moved(to: .cpu) }
  }

  /// These tensors on `device`, with the same order of axes in memory.
  func moved(to device: Device) throws -> Self {
    try mapValues { tensor in
      let order = (0..<tensor.rank).sorted {
        (tensor.strides[$1], $0) < (tensor.strides[$0], $1)
      }
      let places = (0..<tensor.rank).map { axis in order.firstIndex(of: axis) ?? axis }
      return try tensor.permuted(order).moved(to: device).permuted(places)
    }
  }
}
