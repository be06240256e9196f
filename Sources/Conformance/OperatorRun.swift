import AttentionOperators
import AttentionTensors

/// Everything that a case calls its operator with.
struct OperatorRun<Op: Operator> {
  var inputs: OperatorTensors<Op.Input>
  var options: Op.Options
  /// What flows into the outputs; nothing is zero.
  var incoming: OperatorTensors<Op.Output>

  /// The verdicts of the operator's kernels, were the call on `device`.
  func candidates(on device: Device, needsGradient: Bool) throws -> [Explanation.Candidate] {
    try OperatorCall<Op>(inputs, options).explanation(on: device, needsGradient: needsGradient)
      .candidates
  }

  /// All outputs by name and, with gradients, `<input>_gradient` for every input that has one, computed on `device`.
  ///
  /// - Parameter isExact: whether numbers are converted to float64 first.
  func results(_ kernel: String, on device: Device, isExact: Bool, gradients: Bool) throws
    -> [String: Tensor]
  {
    let given = try inputs.mapTensors { input, tensor in
      guard !input.facts.isHosted else { return tensor }
      let moved = try tensor.placed(on: device)
      guard tensor.dtype.isFloatingPoint else { return moved }
      let read = isExact ? try moved.cast(to: .float64) : moved
      return gradients ? read.tracked() : read
    }
    let outputs = try OperatorCall<Op>(given, options, kernel: kernel).run().outputs
    var results = Dictionary(uniqueKeysWithValues: outputs.map { ($0.key.rawValue, $0.tensor) })
    if gradients {
      let sources = given.filter(\.tensor.isTracked)
      let computed = try Tensor.gradients(
        of: sources.map(\.tensor),
        through: outputs.map { output, tensor in
          (tensor, try incoming[output]?.moved(to: device).cast(to: tensor.dtype))
        })
      for (source, gradient) in zip(sources, computed) {
        results["\(source.key.rawValue)_gradient"] = gradient
      }
    }
    return try results.mapValues { try $0.detached().moved(to: .cpu) }
  }
}

/// A case of an operator that is declared by its tables.
protocol OperatorConformanceProblem: ConformanceProblem {
  associatedtype Op: Operator

  var run: OperatorRun<Op> { get }
}

extension OperatorConformanceProblem {
  var reference: String { "cpu.reference" }
  var unfused: String? { nil }

  func kernels(needsGradient: Bool) throws -> [String] {
    try candidates(on: .cpu, needsGradient: needsGradient).filter { $0.objection == nil }
      .map(\.kernel)
  }

  func candidates(on device: Device, needsGradient: Bool) throws -> [Explanation.Candidate] {
    try run.candidates(on: device, needsGradient: needsGradient)
  }

  func results(kernel: String, isExact: Bool, gradients: Bool) throws -> [String: Tensor] {
    try run.results(kernel, on: .cpu, isExact: isExact, gradients: gradients)
  }

  func results(kernel: String, on device: Device, gradients: Bool) throws -> [String: Tensor] {
    try run.results(kernel, on: device, isExact: false, gradients: gradients)
  }

  /// Nothing of a linear sum cancels by its form.
  func termSizes(reference: [String: Tensor]) throws -> [String: Double] { [:] }

  func exactViolation(_ results: [String: Tensor], reference: [String: Tensor]) throws -> String? {
    nil
  }
}

extension Tensor {
  /// This tensor on `device`, its axes in memory in the order in which they are here.
  func placed(on device: Device) throws -> Tensor {
    guard device != .cpu else { return self }
    return try inOrderOfMemory { tensor, _ in try tensor.moved(to: device) }
  }

  /// What `body` makes of this tensor with its axes in the order of memory, with the axes back in this tensor's
  /// order: strides keep their order.
  func inOrderOfMemory(_ body: (_ tensor: Tensor, _ order: [Int]) throws -> Tensor) throws -> Tensor
  {
    let order = (0..<rank).sorted { (strides[$1], $0) < (strides[$0], $1) }
    let axes = (0..<rank).map { axis in order.firstIndex(of: axis) ?? axis }
    return try body(permuted(order), order).permuted(axes)
  }
}
