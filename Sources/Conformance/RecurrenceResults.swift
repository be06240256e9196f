import Tensors

extension [String: Tensor] {
  /// What `operation` makes of these inputs: its output and final state by name and, with gradients,
  /// `<input>_gradient` for every input, given what flows into the two.
  func results(
    isExact: Bool, gradients: Bool, _ outputGradient: Tensor, _ finalStateGradient: Tensor?,
    _ operation: ([String: Tensor]) throws -> (output: Tensor, finalState: Tensor)
  ) throws -> [String: Tensor] {
    var inputs = self
    if isExact { inputs = try inputs.mapValues { try $0.cast(to: .float64) } }
    if gradients { inputs = inputs.mapValues { $0.tracked() } }
    let (output, finalState) = try operation(inputs)
    var results = ["output": output, "final_state": finalState]
    if gradients {
      let names = inputs.keys.sorted()
      let computed = try Tensor.gradients(
        of: names.map { inputs[$0]! },
        through: [
          (output, outputGradient.cast(to: output.dtype)),
          (finalState, finalStateGradient?.cast(to: finalState.dtype)),
        ])
      for (name, gradient) in zip(names, computed) { results[name + "_gradient"] = gradient }
    }
    return results.mapValues { $0.detached() }
  }
}
