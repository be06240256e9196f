/// Where the inputs and outputs of a recorded operation come from, for its vector-Jacobian product: if the
/// gradients are to have gradients themselves, the product has to be recorded as a function of them too.
public struct OperationHistory: Sendable {
  /// Nil where gradients are not recorded.
  private let operation: TapeOperation?

  init(_ operation: TapeOperation?) { self.operation = operation }

  /// Whether the gradients are recorded. If they are not, which is the rule, the inputs, outputs and
  /// gradients that a product reads have no history, and it may run kernels that keep none.
  public var isRecorded: Bool { operation != nil }

  /// An input of the operation: the numbers that were kept of it, ``Tensor/detached()``, with its history
  /// where gradients are recorded.
  ///
  /// - Parameters:
  ///   - index: which one, in the order in which the inputs were given.
  ///   - kept: its numbers.
  /// - Throws: where gradients are recorded, ``TensorError/invalidArgument(_:was:mustBe:)`` if the operation has
  ///   no such input.
  public func input(_ index: Int, _ kept: Tensor) throws -> Tensor {
    guard let operation else { return kept }
    try check(index, "input", of: operation, count: operation.inputs.count)
    return kept.with(origin: operation.inputs[index])
  }

  /// An output of the operation, likewise; its only one unless `index` says which.
  public func output(_ kept: Tensor, _ index: Int = 0) throws -> Tensor {
    guard let operation else { return kept }
    try check(index, "output", of: operation, count: operation.outputCount)
    return kept.with(origin: TapeOutput(operation: operation, index: index))
  }

  private func check(_ index: Int, _ kind: String, of operation: TapeOperation, count: Int) throws {
    guard (0..<count).contains(index) else {
      throw TensorError.invalidArgument(
        "\(kind) of \(operation.name)", was: "\(index)", mustBe: "in 0..<\(count)")
    }
  }

  /// The gradients of a function of these inputs of the operation, for products whose fast kernels keep no
  /// history: the function is computed again from recorded operations and differentiated.
  ///
  ///     return result.recorded(from: [self]) { gradient, history in
  ///       if history.isRecorded {
  ///         return try history.gradients(at: [x], seed: gradient) { try $0[0].softplusByDefinition() }
  ///       }
  ///       return [try softplusGradient(x, gradient)]   // a loop of its own
  ///     }
  ///
  /// - Parameters:
  ///   - kept: the operation's inputs, ``Tensor/detached()``, in their order.
  ///   - seed: the gradient that flows into the function's result, of its shape and dtype.
  ///   - function: the operation's definition, from recorded operations.
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if there are more or fewer than the operation has
  ///   inputs, or the seed is not like the result; what the function throws.
  public func gradients(
    at kept: [Tensor], seed: Tensor, _ function: ([Tensor]) throws -> Tensor
  ) throws -> [Tensor?] {
    if let operation, kept.count != operation.inputs.count {
      throw TensorError.invalidArgument(
        "kept", was: "\(kept.count) tensors",
        mustBe: "\(operation.inputs.count), the inputs of \(operation.name)")
    }
    let leaves = try kept.enumerated().map { index, tensor in
      let input = try input(index, tensor)
      // A record of its own: the walk back ends here and not at what the input was computed from.
      return input.isTracked
        ? tensor.recorded(from: [input]) { gradient, _ in [gradient] } : tensor.tracked()
    }
    return try function(leaves).gradients(of: leaves, seed: seed, areDifferentiable: true)
  }

  /// The gradients that a product gave which is not made of recorded operations: whoever differentiates
  /// them gets an error that names the operation.
  func refusing(
    _ inputGradients: [Tensor?], of outputGradients: [Tensor?], _ name: String
  ) -> [Tensor?] {
    let read = outputGradients.map { $0?.origin } + (operation?.inputs ?? [])
    let refusal = TapeOperation(name, from: read, outputCount: inputGradients.count) { _, _ in
      throw TensorError.noSecondDerivative(operation: name)
    }
    return inputGradients.enumerated().map { index, gradient in
      gradient?.with(origin: TapeOutput(operation: refusal, index: index))
    }
  }
}
