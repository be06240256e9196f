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
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if a source is not tracked, or the
  ///   seed does not have this tensor's shape and dtype.
  public func gradients(of sources: [Tensor], seed: Tensor? = nil) throws -> [Tensor] {
    for (index, source) in sources.enumerated() where !source.isTracked {
      throw TensorError.invalidArgument(
        "sources[\(index)]", was: "a tensor that is not tracked",
        mustBe: "tracked() before it is used")
    }
    if let seed, seed.shape != shape || seed.dtype != dtype {
      throw TensorError.invalidArgument("seed", was: "\(seed)", mustBe: "like \(self)")
    }
    guard seed != nil || elementCount == 1 else {
      throw TensorError.invalidArgument(
        "shape", was: "\(shape)", mustBe: "of one element, or a seed given")
    }
    guard let origin else {
      return try sources.map { try .zeros($0.shape, dtype: $0.dtype, device: $0.device) }
    }

    let operations = Tensor.history(of: origin.operation)
    let last = origin.operation.number
    var accumulated: [Int: [Tensor?]] = [:]
    var sourceNumbers = Set(sources.compactMap { $0.origin?.operation.number })
    sourceNumbers.insert(last)
    var start = [Tensor?](repeating: nil, count: origin.operation.outputCount)
    start[origin.index] = try (seed ?? .ones(shape, dtype: dtype, device: device)).detached()
    accumulated[last] = start

    for operation in operations {
      guard let outputGradients = accumulated[operation.number] else { continue }
      let inputs = operation.inputs
      guard inputs.contains(where: { $0 != nil }) else { continue }
      // What is not asked for is dropped as soon as it has been passed on.
      if !sourceNumbers.contains(operation.number) { accumulated[operation.number] = nil }
      let inputGradients = try operation.pullback(outputGradients)
      for (input, gradient) in zip(inputs, inputGradients) {
        guard let input, let gradient else { continue }
        var gradients =
          accumulated[input.operation.number]
          ?? [Tensor?](repeating: nil, count: input.operation.outputCount)
        if let before = gradients[input.index] {
          gradients[input.index] = try before + gradient.detached()
        } else {
          gradients[input.index] = gradient.detached()
        }
        accumulated[input.operation.number] = gradients
      }
    }

    return try sources.map { source in
      guard let origin = source.origin, let gradient = accumulated[origin.operation.number],
        let own = gradient[origin.index]
      else { return try .zeros(source.shape, dtype: source.dtype, device: source.device) }
      return own
    }
  }

  /// Everything `operation` was computed from, itself included, the latest first.
  private static func history(of operation: TapeOperation) -> [TapeOperation] {
    var seen: Set<Int> = [operation.number]
    var found = [operation]
    var next = 0
    while next < found.count {
      for input in found[next].inputs {
        guard let input, seen.insert(input.operation.number).inserted else { continue }
        found.append(input.operation)
      }
      next += 1
    }
    return found.sorted { $0.number > $1.number }
  }
}
