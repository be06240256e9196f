import AttentionTensors

/// A call of an operator: its tensors and options, validated once by the initialiser. It explains itself,
/// runs, and records its gradient.
///
/// What is called in other modules is specialised here for the package's own operators: the same of code that does
/// not know the operator takes ten microseconds longer.
public struct OperatorCall<Op: Operator>: Sendable {
  /// The tensors as the caller gave them.
  public let inputs: OperatorTensors<Op.Input>
  public let options: Op.Options
  /// The name of the kernel to run; nil for the one with the lowest estimate.
  public let kernel: String?
  public let gradients: WantedGradients<Op.Input>
  public let problem: Op.Problem
  public let sequences: Op.Sequences

  /// - Parameters:
  ///   - inputs: the tensors; tracked ones get gradients.
  ///   - options: the arguments that are not tensors.
  ///   - kernel: the name of the kernel to run; nil for the one with the lowest estimate.
  ///   - gradients: those that a caller with its own tape will request; nil for those of tracked tensors.
  /// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)`` naming the first invalid argument.
  @_specialize(where Op == ExactAttention)
  @_specialize(where Op == LinearAttention)
  @_specialize(where Op == GatedScan)
  @_specialize(where Op == SelectiveScan)
  public init(
    _ inputs: OperatorTensors<Op.Input>, _ options: Op.Options, kernel: String? = nil,
    gradients: WantedGradients<Op.Input>? = nil
  ) throws {
    try Self.checkPresence(inputs)
    let wanted = gradients ?? WantedGradients(ofTracked: inputs)
    self.inputs = inputs
    self.options = options
    self.kernel = kernel
    self.gradients = wanted
    (problem, sequences) = try Op.check(inputs, options, wanted)
  }

  /// Required tensors are there, and all where the first is: lengths of packed sequences, which the processor
  /// reads, may be there too.
  private static func checkPresence(_ inputs: OperatorTensors<Op.Input>) throws {
    let facts = Op.facts
    for (place, input) in Op.inputs.enumerated()
    where facts[place].isRequired && !inputs.keys.contains(input) {
      _ = try inputs.required(input)
    }
    guard let device = inputs.tensors.first?.device else { return }
    for (place, input) in inputs.keys.enumerated()
    where inputs.tensors[place].device != device && !input.facts.isHosted {
      try Check.device(
        of: inputs.tensors[0], inputs.keys[0].argument,
        with: [(inputs.tensors[place], input.argument)])
    }
  }

  /// The inputs that have gradients: those of numbers.
  fileprivate var differentiable: [OperatorTensors<Op.Input>.Element] {
    inputs.filter { $0.key.facts.isDifferentiable && $0.tensor.dtype.isFloatingPoint }
  }

  /// The call in the form that kernels read.
  ///
  /// - Parameter destinations: memory of the caller that results are wanted in.
  public func arguments(destinations: OperatorDestinations<Op> = OperatorDestinations()) throws
    -> Op.Arguments
  {
    try Op.Arguments(self, destinations: destinations)
  }
}

extension OperatorCall {
  @inlinable
  public func shape(of output: Op.Output) -> Shape { Op.shape(of: output, in: problem) }
  @inlinable
  public func dtype(of output: Op.Output) -> DType { Op.dtype(of: output, in: problem) }

  /// Which kernel runs the call, and why not the others; nothing is computed.
  ///
  /// - Parameters:
  ///   - device: the device to assume; nil for that of the tensors.
  ///   - needsGradient: whether to assume a backward pass; nil for whether this call has one.
  /// - Throws: ``AttentionError/unknownKernel(_:known:)`` if no kernel has the requested name.
  @_specialize(where Op == ExactAttention)
  @_specialize(where Op == LinearAttention)
  @_specialize(where Op == GatedScan)
  @_specialize(where Op == SelectiveScan)
  public func explanation(on device: Device? = nil, needsGradient: Bool? = nil) throws
    -> Explanation
  {
    var asked = problem
    if let device { asked.device = device }
    if let needsGradient { asked.needsGradient = needsGradient }
    return try Op.registry.verdict(on: asked, kernel).explanation
  }

  /// Computes the call and, where tensors are tracked, records it on the tape.
  ///
  /// - Throws: ``AttentionError`` if every kernel objects, or the requested one does.
  @_specialize(where Op == ExactAttention)
  @_specialize(where Op == LinearAttention)
  @_specialize(where Op == GatedScan)
  @_specialize(where Op == SelectiveScan)
  public func run() throws -> OperatorResults<Op> {
    CallRecord.add(self)
    let verdict = try Op.registry.verdict(on: problem, kernel)
    let pass = Pass(try verdict.kernel(), try arguments(), places: gradientPlaces)
    let outputs = try pass.outputs()
    let sources = differentiable
    let dtypes = sources.map(\.tensor.dtype)
    let computed = outputs.filter { $0.key.isResult }.map(\.key)
    let recorded = Tensor.recording(
      computed.compactMap { outputs[$0] }, from: sources.map(\.tensor), operation: Op.name
    ) { incoming in
      let found = try pass.gradients(
        outputs,
        OperatorTensors(zip(computed, incoming).lazy.map { (key: $0, tensor: $1?.detached()) }))
      return try zip(pass.places, dtypes).map { try found[$0.input]?.cast(to: $1) }
    }
    return OperatorResults(
      outputs: OperatorTensors(zip(computed, recorded).lazy.map { (key: $0, tensor: $1) }),
      explanation: verdict.explanation)
  }

  /// The outputs alone, for callers with a tape of their own.
  ///
  /// - Parameter destinations: memory of the caller that outputs are wanted in; kernels may disregard it.
  @_specialize(where Op == ExactAttention)
  @_specialize(where Op == LinearAttention)
  @_specialize(where Op == GatedScan)
  @_specialize(where Op == SelectiveScan)
  public func forward(into destinations: OperatorTensors<Op.Output> = [:]) throws
    -> OperatorTensors<Op.Output>
  {
    try pass(OperatorDestinations(outputs: destinations), gradients: []).outputs()
  }

  /// The gradients of a call that needs them, in the shapes of its inputs; gradients that are not wanted may
  /// be missing.
  ///
  /// - Parameters:
  ///   - outputs: what ``forward(into:)`` computed of the same call: those that are read backward.
  ///   - incoming: the gradients that flow into the outputs, in their dtypes; one that is missing is zero.
  ///   - destinations: memory of the caller that gradients are wanted in; kernels may disregard it.
  @_specialize(where Op == ExactAttention)
  @_specialize(where Op == LinearAttention)
  @_specialize(where Op == GatedScan)
  @_specialize(where Op == SelectiveScan)
  public func backward(
    _ outputs: OperatorTensors<Op.Output>, incoming: OperatorTensors<Op.Output>,
    into destinations: OperatorTensors<Op.Input> = [:]
  ) throws -> OperatorTensors<Op.Input> {
    try pass(OperatorDestinations(gradients: destinations), gradients: gradientPlaces).gradients(
      outputs, incoming)
  }

  private func pass(_ destinations: OperatorDestinations<Op>, gradients: [Pass<Op>.Place]) throws
    -> Pass<Op>
  {
    Pass(
      try Op.registry.verdict(on: problem, kernel).kernel(),
      try arguments(destinations: destinations),
      places: gradients)
  }

  private var gradientPlaces: [Pass<Op>.Place] {
    differentiable.map { Pass.Place(input: $0.key, shape: $0.tensor.shape) }
  }
}

/// A call with the kernel that runs it. It holds no history, because the tape keeps it alive.
private struct Pass<Op: Operator>: Sendable {
  /// The input of a gradient, and the gradient's final shape.
  struct Place: Sendable {
    let input: Op.Input
    let shape: Shape
  }

  private let kernel: any OperatorKernel<Op>
  private let arguments: Op.Arguments
  /// The inputs that have gradients.
  let places: [Place]

  init(_ kernel: any OperatorKernel<Op>, _ arguments: Op.Arguments, places: [Place]) {
    self.kernel = kernel
    self.arguments = arguments
    self.places = places
  }

  private var problem: Op.Problem { arguments.problem }

  /// Where there is nothing to compute, zeros are stored once, and a state stays.
  func outputs() throws -> OperatorTensors<Op.Output> {
    guard problem.hasWork else {
      let carried = arguments.carried
      return OperatorTensors(
        try Op.results.map { output in
          let state = output == carried?.to ? carried?.tensor : nil
          return (
            key: output,
            tensor: try state
              ?? .zeros(
                Op.shape(of: output, in: problem), dtype: Op.dtype(of: output, in: problem),
                device: problem.device)
          )
        })
    }
    let outputs = try kernel.forward(arguments)
    for output in Op.results {
      let shape = Op.shape(of: output, in: problem)
      guard let tensor = outputs[output], tensor.shape == shape else {
        let was = outputs[output].map { "of shape \($0.shape)" } ?? "missing"
        throw AttentionError.kernelObjects(
          kernel.name, Objection("its \(output.rawValue) is \(was); it must be \(shape)"))
      }
    }
    return outputs
  }

  /// Gradients in the shapes of their inputs.
  func gradients(
    _ outputs: OperatorTensors<Op.Output>, _ incoming: OperatorTensors<Op.Output>
  ) throws -> OperatorTensors<Op.Input> {
    guard problem.hasWork else {
      let carried = arguments.carried
      return OperatorTensors(
        try places.map { place in
          let state = place.input == carried?.from ? carried.flatMap { incoming[$0.to] } : nil
          return (
            key: place.input, tensor: try state ?? .zeros(place.shape, device: problem.device)
          )
        })
    }
    for output in Op.readBackward where outputs[output] == nil {
      throw AttentionError.invalidArgument("\(output)", was: "absent", mustBe: "present")
    }
    let found = try kernel.backward(arguments, outputs, incoming)
    return OperatorTensors(
      try places.map { (key: $0.input, tensor: try found[$0.input]?.folded(to: $0.shape)) })
  }
}

/// What a call gives.
public struct OperatorResults<Op: Operator>: Sendable {
  /// The outputs, tracked where an input is.
  public let outputs: OperatorTensors<Op.Output>
  /// Which kernel ran, and why not the others.
  public let explanation: Explanation

  subscript(output: Op.Output) -> Tensor {
    guard let tensor = outputs[output] else {
      preconditionFailure("\(explanation.chosen ?? "a kernel") computes no \(output.rawValue)")
    }
    return tensor
  }
}

extension Tensor {
  /// A gradient in the shape of its input: sums what a kernel of linear attention computed separately, for
  /// value heads that share a query head, or for tokens that share a decay.
  func folded(to shape: Shape) throws -> Tensor {
    if self.shape == shape { return self }
    switch shape.rank {
    case 1: return try sum([0, 1, 3])
    case 3: return try squeezed(3)
    default:
      let group = self.shape[2] / shape[2]
      return try reshaped([shape[0], shape[1], shape[2], group, shape[3]]).sum([3])
    }
  }
}
