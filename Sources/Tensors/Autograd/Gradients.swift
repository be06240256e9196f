extension Tensor {
  /// The gradients of this tensor with respect to `sources`, in their order, shapes and dtypes.
  ///
  /// This tensor must have one element, unless `seed` says which gradient flows into it. A source
  /// that this tensor does not depend on has a gradient of zero.
  ///
  ///     let w = weights.tracked()
  ///     let loss = try (x.matmul(w) - y).squared().mean()
  ///     let gradient = try loss.gradients(of: [w])[0]
  ///
  /// Gradients have no history themselves, so that training keeps nothing of how they were computed. Ask
  /// for one where they are to be differentiated, as often as you like:
  ///
  ///     let slope = try x.squared().sum().gradients(of: [x], areDifferentiable: true)[0]
  ///     let curvature = try slope.sum().gradients(of: [x])[0]    // 2 everywhere
  ///
  /// Differentiating a function of gradients without one with respect to what they may depend on is an
  /// error; ``detached()`` makes constants of them.
  ///
  /// - Parameters:
  ///   - sources: tensors that were tracked before this one was computed from them.
  ///   - seed: the gradient of this tensor; 1 if nil. Where gradients are recorded, they are a function
  ///     of it too.
  ///   - areDifferentiable: whether the gradients are recorded as functions of `sources`. It takes the
  ///     memory of all that is computed on the way, as long as the gradients live.
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if a source is not tracked, the seed does
  ///   not have this tensor's shape and dtype, this tensor was computed from gradients that were not
  ///   recorded, or the product of an operation gives an input a gradient of another shape or dtype; ``TensorError/noSecondDerivative(operation:)`` if it was computed from recorded ones of
  ///   an operation whose gradients come from a kernel of their own, as those of fused attention.
  public func gradients(
    of sources: [Tensor], seed: Tensor? = nil, areDifferentiable: Bool = false
  ) throws -> [Tensor] {
    for (index, source) in sources.enumerated() where !source.isTracked {
      throw TensorError.invalidArgument(
        "sources[\(index)]", was: "a tensor that is not tracked",
        mustBe: "tracked() before it is used")
    }
    if let seed, seed.shape != shape || seed.dtype != dtype {
      throw TensorError.invalidArgument(
        "seed", was: "\(seed.summary)", mustBe: "like \(self.summary)")
    }
    guard seed != nil || elementCount == 1 else {
      throw TensorError.invalidArgument(
        "shape", was: "\(shape)", mustBe: "of one element, or a seed given")
    }
    guard let origin else {
      return try sources.map { try .zeros($0.shape, dtype: $0.dtype, device: $0.device) }
    }
    let sourceNumbers = Set(sources.compactMap { $0.origin?.operation.number })
    // What ran before it does not depend on a source.
    let earliest = sourceNumbers.min() ?? .max
    try origin.requireRecord(since: earliest)
    let passed = { (gradient: Tensor) in areDifferentiable ? gradient : gradient.detached() }

    var accumulated: [Int: [Tensor?]] = [:]
    var start = [Tensor?](repeating: nil, count: origin.operation.outputCount)
    start[origin.index] = try passed(seed ?? .ones(shape, dtype: dtype, device: device))
    accumulated[origin.operation.number] = start

    for operation in Tensor.history(of: origin.operation, since: earliest) {
      guard let outputGradients = accumulated[operation.number] else { continue }
      let inputs = operation.inputs
      guard operation.number > earliest, inputs.contains(where: { $0 != nil }) else { continue }
      for case let input? in inputs { try input.requireRecord(since: earliest) }
      // What is not asked for is dropped as soon as it has been passed on.
      if !sourceNumbers.contains(operation.number) { accumulated[operation.number] = nil }
      let inputGradients = try operation.inputGradients(
        of: outputGradients, OperationHistory(areDifferentiable ? operation : nil))
      for (input, gradient) in zip(inputs, inputGradients) {
        guard let input, let gradient, !input.operation.isUnrecorded else { continue }
        var gradients =
          accumulated[input.operation.number]
          ?? [Tensor?](repeating: nil, count: input.operation.outputCount)
        if let before = gradients[input.index] {
          gradients[input.index] = try before + passed(gradient)
        } else {
          gradients[input.index] = passed(gradient)
        }
        accumulated[input.operation.number] = gradients
      }
    }

    let unrecorded = areDifferentiable ? nil : TapeOutput.unrecorded()
    return try sources.map { source in
      guard let origin = source.origin, let gradient = accumulated[origin.operation.number],
        let own = gradient[origin.index]
      else { return try .zeros(source.shape, dtype: source.dtype, device: source.device) }
      return areDifferentiable ? own : own.with(origin: unrecorded)
    }
  }

  /// Everything `operation` was computed from, itself included, the latest first; without what ran
  /// before the number `earliest`.
  private static func history(
    of operation: TapeOperation, since earliest: Int
  ) -> [TapeOperation] {
    var seen: Set<Int> = [operation.number]
    var found = [operation]
    var next = 0
    while next < found.count {
      for input in found[next].inputs {
        guard let input, input.operation.number >= earliest,
          seen.insert(input.operation.number).inserted
        else { continue }
        found.append(input.operation)
      }
      next += 1
    }
    return found.sorted { $0.number > $1.number }
  }
}

extension TapeOutput {
  /// The mark of gradients that were not recorded. Later than all that they may depend on.
  fileprivate static func unrecorded() -> TapeOutput {
    TapeOutput(
      operation: TapeOperation("gradients", from: [], outputCount: 0, isUnrecorded: true) { _, _ in
        []
      },
      index: 0)
  }

  /// Throws if this stands for unrecorded gradients that may depend on what ran at the number
  /// `earliest` or later: to take them for constants would give a derivative that is not right.
  fileprivate func requireRecord(since earliest: Int) throws {
    guard operation.isUnrecorded, operation.number > earliest else { return }
    throw TensorError.invalidArgument(
      "tensor", was: "computed from gradients that were not recorded",
      mustBe:
        "computed from gradients(of:seed:areDifferentiable: true), or from detached() ones if they are constants"
    )
  }
}

extension Tensor {
  /// The gradients of `sources` when several outputs each receive a gradient, in the sources'
  /// order, shapes and dtypes. What computed the outputs is differentiated once.
  ///
  /// - Parameters:
  ///   - sources: tensors that were tracked before the outputs were computed from them.
  ///   - outputs: each output with the gradient that flows into it, of its shape; nil is zero. A gradient
  ///     of another dtype is converted to the output's.
  ///   - areDifferentiable: whether the gradients are recorded, as in
  ///     ``gradients(of:seed:areDifferentiable:)``.
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if a source is not tracked, or a
  ///   gradient does not have its output's shape; otherwise as
  ///   ``gradients(of:seed:areDifferentiable:)``.
  public static func gradients(
    of sources: [Tensor], through outputs: [(output: Tensor, gradient: Tensor?)],
    areDifferentiable: Bool = false
  ) throws -> [Tensor] {
    for (index, (output, gradient)) in outputs.enumerated() {
      guard gradient == nil || gradient?.shape == output.shape else {
        throw TensorError.invalidArgument(
          "outputs[\(index)].gradient", was: "\(gradient!.shape)", mustBe: "\(output.shape)")
      }
    }
    let incoming = try outputs.map { output, gradient in
      try (areDifferentiable ? gradient : gradient?.detached())?.cast(to: output.dtype)
    }
    let root = Tensor.recording([try .zeros([])], from: outputs.map(\.output)) { _, _ in incoming }
    return try root[0].gradients(of: sources, areDifferentiable: areDifferentiable)
  }
}
