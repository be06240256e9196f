import Tensors
import Testing

@testable import Attention

/// Whether `kernel` computes a case as the reference does, gradients too, with every instruction set.
func expectAgreement(_ kernel: String, _ linearCase: LinearCase) throws {
  // Products of bfloat16 inputs round what is written to the state; others are float32.
  let (tolerance, stateTolerance, gradientTolerance) =
    switch linearCase.dtype {
    case .float16: (2e-3, 1e-5, 2e-3)
    case .bfloat16: (1e-2, 1e-2, 1e-2)
    default: (1e-5, 1e-5, 1e-4)
    }
  MemoryPool.poisonsFreshMemory = true
  let arguments = try linearCase.arguments()
  let wide = try arguments.wide()
  let reference = try wide("cpu.reference")
  let gradients = try wide.gradients("cpu.reference")
  let sharedDecay = try cancellation(of: wide, gradients["decay"])
  for set in InstructionSet.supported {
    try InstructionSet.withCurrent(set) {
      let result = try arguments(kernel)
      let output = try relativeError(result.output, reference.output)
      #expect(output <= tolerance, "output, \(set), \(linearCase)")
      let state = try relativeError(result.finalState, reference.finalState)
      #expect(state <= stateTolerance, "final state, \(set), \(linearCase)")
      for (name, gradient) in try arguments.gradients(kernel) {
        let error = try relativeError(gradient, #require(gradients[name]))
        let limit = gradientTolerance * (name == "decay" ? sharedDecay : 1)
        #expect(error <= limit, "gradient of \(name), \(set), \(linearCase)")
      }
    }
  }
}

/// How much larger the terms of the gradient of a decay per head are than their sum over all tokens:
/// what is rounded are the terms. At least 1.
private func cancellation(of arguments: LinearCase.Arguments, _ gradient: Tensor?) throws -> Double
{
  guard let gradient, gradient.rank == 1, gradient.elementCount > 0 else { return 1 }
  let values = arguments.values.shape
  var each = arguments
  each.decay = try arguments.decay?.expanded(to: [values[0], values[1], values[2]]).contiguous()
  let terms = try #require(each.gradients("cpu.reference")["decay"])
  let sizes = try (terms * terms).sum().item() / (gradient * gradient).sum().item()
  return max(1, sizes.squareRoot())
}
