import AttentionTensors
import TestSupport
import Testing

/// Operations recorded from outside the module, with what is public.
@Suite struct OwnOperationTests {
  /// x · y, whose product is made of recorded operations.
  private func product(_ x: Tensor, _ y: Tensor) throws -> Tensor {
    let (a, b) = (x.detached(), y.detached())
    return try (a * b).recorded(from: [x, y]) { gradient, history in
      [try gradient * history.input(1, b), try gradient * history.input(0, a)]
    }
  }

  /// x² by loops of its own, forward and backward; where gradients are recorded, from the definition.
  private func square(_ x: Tensor) throws -> Tensor {
    let source = try x.detached().contiguous()
    let y = try Tensor(source.elements(as: Double.self).map { $0 * $0 }, x.shape)
    return y.recorded(from: [x]) { gradient, history in
      if history.isRecorded {
        return try history.gradients(at: [source], seed: gradient) { try $0[0] * $0[0] }
      }
      let pairs = try zip(
        source.elements(as: Double.self), gradient.elements(as: Double.self))
      return [try Tensor(pairs.map { 2 * $0 * $1 }, source.shape)]
    }
  }

  /// (x + y, x − y), from one pass.
  private func butterfly(_ x: Tensor, _ y: Tensor) throws -> [Tensor] {
    let (a, b) = (x.detached(), y.detached())
    return try Tensor.recording([a + b, a - b], from: [x, y]) { gradients, _ in
      switch (gradients[0], gradients[1]) {
      case (let sum?, let difference?): [try sum + difference, try sum - difference]
      case (let sum?, nil): [sum, sum]
      case (nil, let difference?): [difference, try -difference]
      case (nil, nil): [nil, nil]
      }
    }
  }

  @Test func firstAndSecondDerivativesAreThoseOfDifferences() throws {
    let (x, y) = (try normal([2, 3], 1), try normal([2, 3], 2))
    for (name, function) in [
      ("product", { try self.product($0[0], $0[1]) }),
      ("square", { try self.square($0[0]) + $0[1] }),
      ("one of two outputs", { try $0[0] * self.butterfly($0[0], $0[1])[0].squared() }),
      (
        "both outputs",
        {
          let pair = try self.butterfly($0[0], $0[1])
          return try self.product(pair[0], pair[1])
        }
      ),
    ] as [(String, ([Tensor]) throws -> Tensor)] {
      try expectGradients(of: [x, y], name, function)
      try expectDerivatives(of: [x, y], name, function)
    }
  }

  @Test func outputReadsWhatTheOperationGave() throws {
    let x = try normal([4], 3)
    let exponential: ([Tensor]) throws -> Tensor = { inputs in
      let y = try inputs[0].detached().exponential()
      return y.recorded(from: [inputs[0]]) { gradient, history in
        [try gradient * history.output(y)]
      }
    }
    try expectDerivatives(upTo: 3, of: [x], "exponential", exponential)
  }

  /// The error of differentiating an operation whose product gives `gradients`.
  private func error(_ gradients: [Tensor?]) throws -> TensorError? {
    let (x, y) = (try Tensor.ones([2, 3]).tracked(), try Tensor.ones([3]))
    let result = try Tensor.ones([2, 3]).recorded(from: [x, y], operation: "scaled") { _ in
      gradients
    }
    return #expect(throws: TensorError.self) { try result.sum().gradients(of: [x]) }
  }

  @Test func gradientsThatAreNotLikeTheirInputsAreErrors() throws {
    let right = try Tensor.ones([2, 3])
    #expect(
      try error([right])
        == .invalidArgument(
          "product of scaled", was: "1 gradients", mustBe: "2, one for each input"))
    #expect(
      try error([.ones([3]), nil])
        == .invalidArgument(
          "product of scaled", was: "float32 [3] for input 0",
          mustBe: "float32 [2, 3], as the input"))
    #expect(
      try error([right.cast(to: .float64), nil])
        == .invalidArgument(
          "product of scaled", was: "float64 [2, 3] for input 0",
          mustBe: "float32 [2, 3], as the input"))
    // Of an input that is not tracked nobody reads it.
    let x = try Tensor.ones([2, 3]).tracked()
    let result = try right.recorded(from: [x, .ones([3])], operation: "scaled") { gradient in
      [gradient, gradient]
    }
    #expect(try result.sum().gradients(of: [x])[0].elements(as: Float.self) == [1, 1, 1, 1, 1, 1])
  }

  @Test func theDefinitionHasAsManyInputsAsTheOperation() throws {
    let x = try Tensor.ones([2]).tracked()
    let kept = x.detached()
    let result = kept.recorded(from: [x], operation: "copied") { gradient, history in
      try history.gradients(at: [kept, kept], seed: gradient) { try $0[0] + $0[1] }
    }
    #expect(
      throws: TensorError.invalidArgument(
        "kept", was: "2 tensors", mustBe: "1, the inputs of copied")
    ) { try result.sum().gradients(of: [x], areDifferentiable: true) }
  }

  @Test func indicesThatDoNotExistAreNamed() throws {
    func error(
      _ read: @escaping @Sendable (OperationHistory, Tensor) throws -> Tensor
    ) throws -> TensorError? {
      let x = try Tensor.ones([2]).tracked()
      let y = x.detached().recorded(from: [x], operation: "copied") { gradient, history in
        [try gradient * read(history, .ones([2]))]
      }
      let sum = try y.sum()
      return #expect(throws: TensorError.self) {
        try sum.gradients(of: [x], areDifferentiable: true)
      }
    }
    #expect(
      try error { try $0.input(1, $1) }
        == .invalidArgument("input of copied", was: "1", mustBe: "in 0..<1"))
    #expect(
      try error { try $0.output($1, -1) }
        == .invalidArgument("output of copied", was: "-1", mustBe: "in 0..<1"))
  }

  @Test func gradientsThatFlowInHaveTheOutputsDType() throws {
    let x = try Tensor.ones([2], dtype: .bfloat16).tracked()
    let y = try x * 3
    let seed = try Tensor([1, 2] as [Float])
    let gradient = try Tensor.gradients(of: [x], through: [(y, seed)])[0]
    #expect(gradient.dtype == .bfloat16)
    #expect(try gradient.elements(as: Float.self) == [3, 6])
  }
}
