import Tensors
import Testing

@testable import Attention

/// Whether `kernel` computes a case as the reference does, gradients too, with every instruction set.
func expectAgreement(_ kernel: String, _ linearCase: LinearCase) throws {
  let (tolerance, gradientTolerance) =
    switch linearCase.dtype {
    case .float16: (2e-3, 2e-3)
    case .bfloat16: (1e-2, 1e-2)
    default: (1e-5, 1e-4)
    }
  MemoryPool.poisonsFreshMemory = true
  let arguments = try linearCase.arguments()
  let wide = try arguments.wide()
  let reference = try wide("cpu.reference")
  let gradients = try wide.gradients("cpu.reference")
  for set in InstructionSet.supported {
    try InstructionSet.withCurrent(set) {
      let result = try arguments(kernel)
      let output = try relativeError(result.output, reference.output)
      #expect(output <= tolerance, "output, \(set), \(linearCase)")
      let state = try relativeError(result.finalState, reference.finalState)
      #expect(state <= 1e-5, "final state, \(set), \(linearCase)")
      for (name, gradient) in try arguments.gradients(kernel) {
        let error = try relativeError(gradient, #require(gradients[name]))
        #expect(error <= gradientTolerance, "gradient of \(name), \(set), \(linearCase)")
      }
    }
  }
}
