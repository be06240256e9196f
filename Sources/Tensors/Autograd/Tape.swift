import Synchronization

/// A recorded operation: what it read, and how gradients of its outputs become gradients of that.
///
/// Operations are numbered in the order they ran. An operation's inputs have smaller numbers, so
/// going through the numbers downwards meets every operation after all that used its outputs.
final class TapeOperation: Sendable {
  typealias Pullback =
    @Sendable (_ outputGradients: [Tensor?], _ history: OperationHistory) throws -> [Tensor?]

  private static let counter = Atomic<Int>(0)

  let number: Int
  let outputCount: Int
  /// Whether this stands for a computation of gradients that was not recorded.
  let isUnrecorded: Bool
  /// One entry an input of ``pullback``; nil for inputs that are not tracked.
  private let mutableInputs: Mutex<[TapeOutput?]>
  let pullback: Pullback

  var inputs: [TapeOutput?] { mutableInputs.withLock { $0 } }

  init(
    inputs: [TapeOutput?], outputCount: Int, isUnrecorded: Bool = false,
    pullback: @escaping Pullback
  ) {
    self.number = Self.counter.wrappingAdd(1, ordering: .relaxed).newValue
    self.outputCount = outputCount
    self.isUnrecorded = isUnrecorded
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
  public var isTracked: Bool { origin.map { !$0.operation.isUnrecorded } ?? false }

  /// The same numbers as a leaf of the tape: ``gradients(of:seed:areDifferentiable:)`` can be asked
  /// for it.
  public func tracked() -> Tensor {
    let leaf = TapeOperation(inputs: [], outputCount: 1) { _, _ in [] }
    return with(origin: TapeOutput(operation: leaf, index: 0))
  }

  /// The same numbers without their history.
  public func detached() -> Tensor { with(origin: nil) }

  func with(origin: TapeOutput?) -> Tensor {
    Tensor(
      storage: storage, shape: shape, strides: strides, offset: offset, dtype: dtype,
      origin: origin)
  }

  /// Attaches a vector-Jacobian product that cannot be differentiated once more, as that of a fused
  /// kernel, to freshly computed tensors. A second derivative that needs it is an error.
  ///
  /// - Parameters:
  ///   - outputs: what the operation computed, without history.
  ///   - inputs: what it was computed from.
  ///   - operation: the operation's name, for that error.
  ///   - pullback: given the gradient of each output (nil where none arrived), the gradient of
  ///     each input in the input's shape and dtype (nil for none). It must capture only
  ///     ``detached()`` tensors. It is called only if an input is tracked.
  /// - Returns: the outputs; tracked if an input is.
  public static func recording(
    _ outputs: [Tensor], from inputs: [Tensor], operation: String = #function,
    pullback: @escaping @Sendable (_ outputGradients: [Tensor?]) throws -> [Tensor?]
  ) -> [Tensor] {
    recording(outputs, from: inputs) { gradients, history in
      guard history.isRecorded else { return try pullback(gradients) }
      return history.refusing(
        try pullback(gradients.map { $0?.detached() }), of: gradients, operation)
    }
  }

  /// ``recording(_:from:operation:pullback:)`` for operations with one output.
  public func recorded(
    from inputs: [Tensor], operation: String = #function,
    pullback: @escaping @Sendable (_ gradient: Tensor) throws -> [Tensor?]
  ) -> Tensor {
    // The pullback must not hold the inputs: their histories would be released recursively.
    let count = inputs.count
    return Tensor.recording([self], from: inputs, operation: operation) { gradients in
      guard let gradient = gradients[0] else { return [Tensor?](repeating: nil, count: count) }
      return try pullback(gradient)
    }[0]
  }

  /// Attaches a vector-Jacobian product that is made of recorded operations, so that it has
  /// derivatives itself, to freshly computed tensors.
  ///
  /// What the product reads of inputs and outputs it asks `history` for, which knows where they come from:
  ///
  ///     let (x, y) = (self.detached(), other.detached())
  ///     return try product(x, y).recorded(from: [self, other]) { gradient, history in
  ///       [try gradient * history.input(1, y), try gradient * history.input(0, x)]
  ///     }
  ///
  /// Otherwise it is as in ``recording(_:from:operation:pullback:)``.
  public static func recording(
    _ outputs: [Tensor], from inputs: [Tensor],
    pullback:
      @escaping @Sendable (_ outputGradients: [Tensor?], _ history: OperationHistory) throws
      -> [Tensor?]
  ) -> [Tensor] {
    guard inputs.contains(where: { $0.origin != nil }) else { return outputs }
    guard inputs.contains(where: \.isTracked) else {
      // What is computed from gradients that were not recorded is marked as they are.
      let latest = inputs.compactMap(\.origin).max { $0.operation.number < $1.operation.number }
      return outputs.map { $0.dtype.isFloatingPoint ? $0.with(origin: latest) : $0 }
    }
    let operation = TapeOperation(
      inputs: inputs.map(\.origin), outputCount: outputs.count, pullback: pullback)
    return outputs.enumerated().map { index, output in
      output.dtype.isFloatingPoint
        ? output.with(origin: TapeOutput(operation: operation, index: index)) : output
    }
  }

  /// ``recording(_:from:pullback:)`` for operations with one output.
  public func recorded(
    from inputs: [Tensor],
    pullback:
      @escaping @Sendable (_ gradient: Tensor, _ history: OperationHistory) throws -> [Tensor?]
  ) -> Tensor {
    let count = inputs.count
    return Tensor.recording([self], from: inputs) { gradients, history in
      guard let gradient = gradients[0] else { return [Tensor?](repeating: nil, count: count) }
      return try pullback(gradient, history)
    }[0]
  }
}
