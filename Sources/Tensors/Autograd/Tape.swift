import Synchronization

/// A recorded operation: what it read, and how gradients of its outputs become gradients of that.
///
/// Operations are numbered in the order they ran. An operation's inputs have smaller numbers, so
/// going through the numbers downwards meets every operation after all that used its outputs.
final class TapeOperation: Sendable {
  typealias Pullback = @Sendable (_ outputGradients: [Tensor?]) throws -> [Tensor?]

  private static let counter = Atomic<Int>(0)

  let number: Int
  let outputCount: Int
  /// One entry an input of ``pullback``; nil for inputs that are not tracked.
  private let mutableInputs: Mutex<[TapeOutput?]>
  let pullback: Pullback

  var inputs: [TapeOutput?] { mutableInputs.withLock { $0 } }

  init(inputs: [TapeOutput?], outputCount: Int, pullback: @escaping Pullback) {
    self.number = Self.counter.wrappingAdd(1, ordering: .relaxed).newValue
    self.outputCount = outputCount
    self.mutableInputs = Mutex(inputs)
    self.pullback = pullback
  }

  /// Takes chains of operations apart one by one: releasing a chain of a hundred thousand
  /// recursively would overflow the stack.
  deinit {
    var pending = mutableInputs.withLock { inputs in
      defer { inputs = [] }
      return inputs.compactMap { $0?.operation }
    }
    while var operation = pending.popLast() {
      guard isKnownUniquelyReferenced(&operation) else { continue }
      pending += operation.mutableInputs.withLock { inputs in
        defer { inputs = [] }
        return inputs.compactMap { $0?.operation }
      }
    }
  }
}

/// One output of a recorded operation.
struct TapeOutput: Sendable {
  let operation: TapeOperation
  let index: Int
}

extension Tensor {
  /// Whether gradients with respect to this tensor can be asked for.
  public var isTracked: Bool { origin != nil }

  /// The same numbers as a leaf of the tape: ``gradients(of:seed:)`` can be asked for it.
  public func tracked() -> Tensor {
    let leaf = TapeOperation(inputs: [], outputCount: 1) { _ in [] }
    return with(origin: TapeOutput(operation: leaf, index: 0))
  }

  /// The same numbers without their history.
  public func detached() -> Tensor { with(origin: nil) }

  private func with(origin: TapeOutput?) -> Tensor {
    Tensor(
      storage: storage, shape: shape, strides: strides, offset: offset, dtype: dtype,
      origin: origin)
  }

  /// Attaches a vector-Jacobian product to freshly computed tensors.
  ///
  /// - Parameters:
  ///   - outputs: what the operation computed, without history.
  ///   - inputs: what it was computed from.
  ///   - pullback: given the gradient of each output (nil where none arrived), the gradient of
  ///     each input in the input's shape and dtype (nil for none). It must capture only
  ///     ``detached()`` tensors. It is called only if an input is tracked.
  /// - Returns: the outputs; tracked if an input is.
  public static func recording(
    _ outputs: [Tensor], from inputs: [Tensor],
    pullback: @escaping @Sendable (_ outputGradients: [Tensor?]) throws -> [Tensor?]
  ) -> [Tensor] {
    guard inputs.contains(where: \.isTracked) else { return outputs }
    let operation = TapeOperation(
      inputs: inputs.map(\.origin), outputCount: outputs.count, pullback: pullback)
    return outputs.enumerated().map { index, output in
      output.dtype.isFloatingPoint
        ? output.with(origin: TapeOutput(operation: operation, index: index)) : output
    }
  }

  /// ``recording(_:from:pullback:)`` for operations with one output.
  public func recorded(
    from inputs: [Tensor], pullback: @escaping @Sendable (_ gradient: Tensor) throws -> [Tensor?]
  ) -> Tensor {
    // The pullback must not hold the inputs: their histories would be released recursively.
    let count = inputs.count
    return Tensor.recording([self], from: inputs) { gradients in
      guard let gradient = gradients[0] else { return [Tensor?](repeating: nil, count: count) }
      return try pullback(gradient)
    }[0]
  }
}
