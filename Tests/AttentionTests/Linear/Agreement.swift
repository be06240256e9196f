import AttentionTensors
import TestSupport
import Testing

@testable import AttentionOperators

/// Whether `kernel` agrees with the reference on a case, gradients included, with every instruction set.
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
  let cancellations = [
    "decay": try cancellation(of: wide, gradients["decay"]),
    "initialState": try erasure(of: wide, gradients["initialState"]),
  ]
  for set in InstructionSet.supported {
    try InstructionSet.withCurrent(set) {
      let result = try arguments(kernel)
      let output = try relativeError(result.output, reference.output)
      #expect(output <= tolerance, "output, \(set), \(linearCase)")
      let state = try relativeError(result.finalState, reference.finalState)
      #expect(state <= stateTolerance, "final state, \(set), \(linearCase)")
      for (name, gradient) in try arguments.gradients(kernel) {
        let error = try relativeError(gradient, #require(gradients[name]))
        let limit = gradientTolerance * cancellations[name, default: 1]
        #expect(error <= limit, "gradient of \(name), \(set), \(linearCase)")
      }
    }
  }
}

/// The ratio of the terms of the gradient of a decay per head to their sum over all tokens, channels and
/// columns of the state: rounding is relative to the terms. At least 1.
///
/// The rounding error of a token's query or key affects all tokens that it influences: over tokens the sizes of
/// the terms are added, over channels and columns their squares.
private func cancellation(of arguments: LinearCase.Arguments, _ gradient: Tensor?) throws -> Double
{
  guard let gradient, gradient.rank == 1, gradient.elementCount > 0 else { return 1 }
  let terms = try #require(arguments.columnByColumn().gradients("cpu.reference")["decay"])
  let passing = try terms.absolute().sum([1])
  let sizes = try (passing * passing).sum().item() / (gradient * gradient).sum().item()
  return max(1, sizes.squareRoot())
}

/// The ratio of the terms of the initial state's gradient to their sum where tokens erase: the final state's gradient,
/// decayed over all tokens, and what tokens take from it. Rounding is relative to the terms. At least 1.
private func erasure(of arguments: LinearCase.Arguments, _ gradient: Tensor?) throws -> Double {
  guard let gradient, gradient.elementCount > 0 else { return 1 }
  switch arguments.update {
  case .additive, .additiveBefore: return 1
  default: break
  }
  var decayed = arguments
  decayed.update = .additive
  decayed.outputGradient = try Tensor.zeros(arguments.outputGradient.shape, dtype: .float64)
  let terms = try #require(decayed.gradients("cpu.reference")["initialState"])
  let (size, sum) = (try terms.squared().sum().item(), try gradient.squared().sum().item())
  return sum > 0 ? max(1, (size / sum).squareRoot()) : 1
}

extension LinearCase.Arguments {
  /// The same with one independent value head per column of the state, and a decay per token and channel
  /// instead of one per head.
  fileprivate func columnByColumn() throws -> Self {
    let (shape, k) = (values.shape, keys.shape[3])
    let (b, t, heads, v) = (shape[0], shape[1], shape[2], shape[3])
    /// Repeats each head of axis `axis` once per column.
    func repeated(_ tensor: Tensor, _ axis: Int) throws -> Tensor {
      var wide = tensor.shape.dimensions
      wide.insert(v, at: axis + 1)
      var flat = tensor.shape.dimensions
      flat[axis] *= v
      return try tensor.unsqueezed(axis + 1).expanded(to: Shape(wide)).reshaped(Shape(flat))
    }
    func columns(ofState state: Tensor) throws -> Tensor {
      try state.permuted([0, 1, 3, 2]).reshaped([state.shape[0], heads * v, k, 1])
    }
    var copy = self
    copy.values = try values.reshaped([b, t, heads * v, 1])
    copy.outputGradient = try outputGradient.reshaped([b, t, heads * v, 1])
    copy.finalStateGradient = try columns(ofState: finalStateGradient)
    copy.initialState = try initialState.map(columns)
    copy.decay = try decay.map {
      try repeated($0.reshaped([heads, 1]).expanded(to: [b, t, heads, k]), 2)
    }
    copy.update = try update.mapTensors { try repeated($0, $0.rank == 2 ? 0 : 2) }
    return copy
  }
}
