import AttentionOperators
import AttentionTensors

/// An operator with everything it is called with.
protocol OperatorInvocation {
  /// - Throws: what the operator throws of its arguments.
  func run() throws -> OperatorOutputs

  func explain(needsGradient: Bool) throws -> Explanation
}

/// What an operator computed: its tensors by name, and the kernel's verdict.
struct OperatorOutputs {
  var tensors: [String: Tensor]
  var explanation: Explanation

  init(tensors: [String: Tensor], explanation: Explanation) {
    self.tensors = tensors
    self.explanation = explanation
  }

  init<Op: Operator>(_ results: OperatorResults<Op>) {
    tensors = Dictionary(
      uniqueKeysWithValues: results.outputs.map { ($0.key.rawValue, $0.tensor) })
    explanation = results.explanation
  }

  /// An output that every call of the operator has.
  func required(_ name: String) throws -> Tensor {
    guard let tensor = tensors[name] else { throw CommandError("\(name) is missing") }
    return tensor
  }
}

extension OperatorInvocation {
  /// Runs with the inputs tracked, and adds `<input>_gradient` for each that has one.
  ///
  /// - Parameter inputs: the tracked tensors that the call was made of.
  func runWithGradients(of inputs: NamedTensors) throws -> OperatorOutputs {
    var outputs = try run()
    let incoming = try inputs.incoming(to: outputs)
    let names = inputs.differentiable
    let gradients = try Tensor.gradients(
      of: names.map { try inputs.required($0) }, through: incoming)
    for (name, gradient) in zip(names, gradients) {
      outputs.tensors[name + "_gradient"] = gradient
    }
    outputs.tensors = outputs.tensors.mapValues { $0.detached() }
    return outputs
  }
}

extension NamedTensors {
  /// The outputs that gradients come in by, each with the one that is given for it.
  ///
  /// - Throws: ``CommandError`` if a gradient has another shape than its output.
  func incoming(
    to outputs: OperatorOutputs
  ) throws -> [(output: Tensor, gradient: Tensor?)] {
    try ["output", "final_state"].compactMap { name in
      guard let output = outputs.tensors[name] else { return nil }
      let gradient = self[name + "_gradient"]
      if let gradient, gradient.shape != output.shape {
        throw CommandError(
          "\(name)_gradient", was: "\(gradient.shape)", mustBe: "\(output.shape), as \(name)")
      }
      return (output, try gradient?.moved(to: output.device).cast(to: output.dtype))
    }
  }
}
