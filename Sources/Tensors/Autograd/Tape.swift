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
  /// What errors call it.
  let name: String
  let outputCount: Int
  /// Whether this stands for a computation of gradients that was not recorded.
  let isUnrecorded: Bool
  /// One entry an input of ``pullback``; nil for inputs that are not tracked.
  private let mutableInputs: Mutex<[TapeOutput?]>
  /// What the gradients of the inputs must be like; nil where that is known.
  private let forms: [Form]?
  private let pullback: Pullback

  /// What a tensor and its gradient have in common.
  struct Form: Sendable {
    let shape: Shape
    let dtype: DType
  }

  var inputs: [TapeOutput?] { mutableInputs.withLock { $0 } }

  /// - Parameters:
  ///   - name: what errors call it.
  ///   - inputs: what it read; nil for what is not tracked.
  ///   - forms: shape and dtype of each input; nil where `pullback` is known to keep to them.
  ///   - outputCount: how many outputs there are.
  ///   - isUnrecorded: whether it stands for a computation of gradients that was not recorded.
  ///   - pullback: makes gradients of inputs from gradients of outputs.
  init(
    _ name: String, from inputs: [TapeOutput?], forms: [Form]? = nil, outputCount: Int,
    isUnrecorded: Bool = false, pullback: @escaping Pullback
  ) {
    self.number = Self.counter.wrappingAdd(1, ordering: .relaxed).newValue
    self.name = name
    self.outputCount = outputCount
    self.isUnrecorded = isUnrecorded
    self.mutableInputs = Mutex(inputs)
    self.forms = forms
    self.pullback = pullback
  }

  /// The gradients of the inputs.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if the product gives another number of them than
  ///   there are inputs, or to a tracked input one of another shape or dtype; otherwise what the product throws.
  func inputGradients(
    of outputGradients: [Tensor?], _ history: OperationHistory
  ) throws -> [Tensor?] {
    let gradients = try pullback(outputGradients, history)
    guard let forms else { return gradients }
    guard gradients.count == forms.count else {
      throw TensorError.invalidArgument(
        "product of \(name)", was: "\(gradients.count) gradients",
        mustBe: "\(forms.count), one for each input")
    }
    for (index, (gradient, input)) in zip(gradients, inputs).enumerated() where input != nil {
      let form = forms[index]
      guard let gradient, gradient.shape != form.shape || gradient.dtype != form.dtype else {
        continue
      }
      throw TensorError.invalidArgument(
        "product of \(name)",
        was: "\(gradient.dtype.rawValue) \(gradient.shape) for input \(index)",
        mustBe: "\(form.dtype.rawValue) \(form.shape), as the input")
    }
    return gradients
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

  /// Whether ``detached()`` leaves anything out.
  package var hasHistory: Bool { origin != nil }

  /// The same numbers as a leaf of the tape: ``gradients(of:seed:areDifferentiable:)`` can be asked
  /// for it.
  public func tracked() -> Tensor {
    let leaf = TapeOperation("tracked", from: [], outputCount: 1) { _, _ in [] }
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
  ///   - outputs: what the operation computed from the inputs' ``detached()`` numbers.
  ///   - inputs: what it was computed from.
  ///   - operation: the operation's name, for errors; that of the function that records it unless given.
  ///   - pullback: given the gradient of each output (nil where none arrived), the gradient of
  ///     each input in the input's shape and dtype (nil for none): others are an error of
  ///     ``gradients(of:seed:areDifferentiable:)``. It must capture only ``detached()`` tensors. It is called
  ///     only if an input is tracked.
  /// - Returns: the outputs; tracked if they are of floating point and an input is tracked.
  public static func recording(
    _ outputs: [Tensor], from inputs: [Tensor], operation: String = #function,
    pullback: @escaping @Sendable (_ outputGradients: [Tensor?]) throws -> [Tensor?]
  ) -> [Tensor] {
    recording(outputs, from: inputs, operation: operation) { gradients, history in
      guard history.isRecorded else { return try pullback(gradients) }
      return history.refusing(
        try pullback(gradients.map { $0?.detached() }), of: gradients, operation)
    }
  }

  /// The same for operations with one output, whose product cannot be differentiated once more.
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
  /// Where gradients are not recorded, `history` gives back what it is given, and the product may run kernels
  /// of its own; where they are, ``OperationHistory/gradients(at:seed:_:)`` takes the definition.
  ///
  /// - Parameters:
  ///   - outputs: what the operation computed from the inputs' ``detached()`` numbers.
  ///   - inputs: what it was computed from.
  ///   - operation: the operation's name, for errors; that of the function that records it unless given.
  ///   - pullback: given the gradient of each output (nil where none arrived), the gradient of
  ///     each input in the input's shape and dtype (nil for none): others are an error of
  ///     ``gradients(of:seed:areDifferentiable:)``. It must capture only ``detached()`` tensors. It is called
  ///     only if an input is tracked.
  /// - Returns: the outputs; tracked if they are of floating point and an input is tracked.
  public static func recording(
    _ outputs: [Tensor], from inputs: [Tensor], operation: String = #function,
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
      operation, from: inputs.map(\.origin),
      forms: inputs.map { TapeOperation.Form(shape: $0.shape, dtype: $0.dtype) },
      outputCount: outputs.count, pullback: pullback)
    return outputs.enumerated().map { index, output in
      output.dtype.isFloatingPoint
        ? output.with(origin: TapeOutput(operation: operation, index: index)) : output
    }
  }

  /// The same for operations with one output, whose product is made of recorded operations.
  public func recorded(
    from inputs: [Tensor], operation: String = #function,
    pullback:
      @escaping @Sendable (_ gradient: Tensor, _ history: OperationHistory) throws -> [Tensor?]
  ) -> Tensor {
    let count = inputs.count
    return Tensor.recording([self], from: inputs, operation: operation) { gradients, history in
      guard let gradient = gradients[0] else { return [Tensor?](repeating: nil, count: count) }
      return try pullback(gradient, history)
    }[0]
  }
}
