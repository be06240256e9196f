// The names are those of the C header.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import AttentionOperators
import AttentionInterface
import AttentionTensors

@c @implementation
public func sa_gated_scan_forward(_ call: UnsafePointer<sa_gated_scan>!) -> sa_status {
  answering(call) { call in
    try CallSite.run(call) { site in
      let arguments = try call.arguments(at: site, needsGradient: call.needs_gradient != 0)
      let inputs = arguments.inputs
      let output = try site.requiredTarget(call.output, "output", inputs.shape, inputs.dtype)
      let finalState = try site.target(
        call.final_state, "final_state", arguments.stateShape, arguments.stateDType)
      let outputs = try GatedScan.forward(arguments, kernel: call.kernelName)
      try outputs.output.write(to: output)
      if let finalState { try outputs.finalState.write(to: finalState) }
    }
  }
}

@c @implementation
public func sa_gated_scan_backward(_ call: UnsafePointer<sa_gated_scan>!) -> sa_status {
  answering(call) { call in
    try CallSite.run(call) { site in
      let arguments = try call.arguments(at: site, needsGradient: true)
      let inputs = arguments.inputs
      let targets = try call.gradientTargets(at: site)
      let gradients = try GatedScan.backward(
        arguments, output: site.required(call.output, "output", inputs.shape, inputs.dtype),
        outputGradient: site.optional(
          call.output_gradient, "output_gradient", inputs.shape, inputs.dtype),
        finalStateGradient: site.optional(
          call.final_state_gradient, "final_state_gradient", arguments.stateShape,
          arguments.stateDType),
        kernel: call.kernelName)
      let all = [gradients.inputs, gradients.decay, gradients.initialState]
      for (gradient, target) in zip(all, targets) {
        if let target { try gradient.write(to: target) }
      }
    }
  }
}

@c @implementation
public func sa_gated_scan_explain(
  _ call: UnsafePointer<sa_gated_scan>!, _ text: UnsafeMutablePointer<CChar>!, _ capacity: Int,
  _ length: UnsafeMutablePointer<Int>!
) -> sa_status {
  answering(call) { call in
    let site = try CallSite.question(call)
    let verdict = try GatedScan.explain(
      call.arguments(at: site, needsGradient: call.needs_gradient != 0), on: site.device,
      kernel: call.kernelName)
    try give(ExplanationTable(verdict).text(), text, capacity, length)
  }
}

extension sa_gated_scan {
  fileprivate func arguments(at site: CallSite, needsGradient: Bool) throws -> GatedScanCall {
    let inputs = try site.required(inputs, "inputs")
    return try GatedScanCall(
      inputs: inputs, decay: site.required(decay, "decay"),
      initialState: site.input(initial_state, "initial_state"),
      cumulativeLengths: site.cumulativeLengths(
        cumulative_lengths, length: inputs.rank == 3 ? inputs.shape[1] : 0),
      needsGradient: needsGradient)
  }

  /// Where the gradients are written, in the order in which ``sa_gated_scan_backward(_:)`` has them.
  fileprivate func gradientTargets(at site: CallSite) throws -> [Tensor?] {
    try [
      (inputs, inputs_gradient, "inputs"), (decay, decay_gradient, "decay"),
      (initial_state, initial_state_gradient, "initial_state"),
    ].map { try site.target(gradientOf: $0, $1, $2) }
  }
}
