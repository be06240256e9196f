// The names are those of the C header.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import AttentionInterface
import AttentionOperators
import AttentionTensors

/// The struct of an operator's call.
///
/// From ``firstInput`` on it has a tensor for each of ``Operator/inputs``, and from ``firstResult`` on one for each
/// of ``Operator/results``, for the gradient of each result, and for the gradient of each input that has one: all in
/// the order of the operator's tables.
protocol OperatorStruct: InterfaceCall {
  associatedtype Op: Operator

  var needs_gradient: Int32 { get }
  /// Where the first input and the first result are, in bytes.
  static var firstInput: Int? { get }
  static var firstResult: Int? { get }

  /// What the call says beside its tensors; `inputs` are those that are present.
  func options(_ inputs: OperatorTensors<Op.Input>) throws -> Op.Options
}

extension OperatorStruct {
  static func forward(_ call: UnsafePointer<Self>?) -> sa_status {
    answering(call) { call in
      let fields = Fields(call)
      try CallSite.run(call.pointee) { site in
        let asked = try fields.call(
          at: site, needsGradient: call.pointee.needs_gradient != 0, wanted: [])
        var targets = OperatorTensors<Op.Output>(minimumCapacity: Op.results.count)
        for (place, output) in Op.results.enumerated() {
          let tensor = fields.result(place)
          // The first is what a call is for.
          guard place == 0 || tensor.is_present != 0 else { continue }
          let (name, shape) = (output.rawValue, asked.shape(of: output))
          targets[output] =
            try place == 0
            ? site.requiredTarget(tensor, name, shape, asked.dtype(of: output))
            : site.target(tensor, name, shape, asked.dtype(of: output))
        }
        let outputs = try asked.forward(into: targets)
        for (output, target) in targets { try outputs[output]?.write(to: target) }
      }
    }
  }

  static func backward(_ call: UnsafePointer<Self>?) -> sa_status {
    answering(call) { call in
      let fields = Fields(call)
      try CallSite.run(call.pointee) { site in
        let targets = try fields.targets(at: site)
        let asked = try fields.call(at: site, needsGradient: true, wanted: targets.keys)
        var outputs = OperatorTensors<Op.Output>(minimumCapacity: Op.results.count)
        var incoming = OperatorTensors<Op.Output>(minimumCapacity: Op.results.count)
        for (place, output) in Op.results.enumerated() {
          let (name, shape) = (output.rawValue, asked.shape(of: output))
          if Op.readBackward.contains(output) {
            outputs[output] = try site.required(
              fields.result(place), name, shape, asked.dtype(of: output))
          }
          incoming[output] = try site.optional(
            fields.incoming(place), "\(name)_gradient", shape, asked.dtype(of: output))
        }
        let gradients = try asked.backward(outputs, incoming: incoming, into: targets)
        for (input, target) in targets { try gradients[input]?.write(to: target) }
      }
    }
  }

  static func explain(
    _ call: UnsafePointer<Self>?, _ text: UnsafeMutablePointer<CChar>?, _ capacity: Int,
    _ length: UnsafeMutablePointer<Int>?
  ) -> sa_status {
    answering(call) { call in
      let site = try CallSite.question(call.pointee)
      let verdict = try Fields(call).call(
        at: site, needsGradient: call.pointee.needs_gradient != 0, wanted: Op.differentiable
      ).explanation(on: site.device)
      try give(ExplanationTable(verdict).text(), text, capacity, length)
    }
  }
}

/// The tensors of a struct by their place in the operator's tables.
private struct Fields<C: OperatorStruct> {
  typealias Op = C.Op

  private let memory: UnsafePointer<C>

  init(_ call: UnsafePointer<C>) { memory = call }

  private func tensor(_ first: Int?, _ place: Int) -> sa_tensor {
    UnsafeRawPointer(memory).load(
      fromByteOffset: first! + place * MemoryLayout<sa_tensor>.stride, as: sa_tensor.self)
  }

  private func field(_ place: Int) -> sa_tensor { tensor(C.firstInput, place) }

  func result(_ place: Int) -> sa_tensor { tensor(C.firstResult, place) }

  func incoming(_ place: Int) -> sa_tensor { result(Op.results.count + place) }

  private func gradient(_ place: Int) -> sa_tensor { result(2 * Op.results.count + place) }

  /// The call that the struct describes.
  ///
  /// - Parameter wanted: the inputs whose gradients are asked for.
  func call(at site: CallSite, needsGradient: Bool, wanted: [Op.Input]) throws -> OperatorCall<Op> {
    var inputs = OperatorTensors<Op.Input>(minimumCapacity: Op.inputs.count)
    let facts = Op.facts
    var length = 0
    for (place, input) in Op.inputs.enumerated() {
      let tensor = field(place)
      let (isRequired, isHosted) = (facts[place].isRequired, facts[place].isHosted)
      guard tensor.is_present != 0 || isRequired else { continue }
      let given =
        try isHosted
        ? site.cumulativeLengths(tensor, length: length) : site.input(tensor, input.field)
      if isRequired, given == nil { throw site.absence(of: input.field) }
      // The tokens of the first.
      if place == 0, let given, given.rank > 1 { length = given.shape[1] }
      inputs[input] = given
    }
    return try OperatorCall<Op>(
      inputs, memory.pointee.options(inputs),
      kernel: memory.pointee.kernel.map { String(cString: $0) },
      gradients: WantedGradients(areNeeded: needsGradient, inputs: wanted))
  }

  /// Where gradients are written.
  func targets(at site: CallSite) throws -> OperatorTensors<Op.Input> {
    var targets = OperatorTensors<Op.Input>(minimumCapacity: Op.inputs.count)
    let facts = Op.facts
    var number = 0
    for (place, input) in Op.inputs.enumerated() where facts[place].isDifferentiable {
      let gradient = gradient(number)
      number += 1
      guard gradient.is_present != 0 else { continue }
      targets[input] = try site.target(gradientOf: field(place), gradient, input.field)
    }
    return targets
  }
}
