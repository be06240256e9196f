import AttentionTensors

/// The tensors that an operator is given, by the names of the command line's contract.
struct NamedTensors {
  private let tensors: [String: Tensor]

  /// - Parameters:
  ///   - tensors: every tensor of the source.
  ///   - operation: what they are for.
  ///   - source: where they come from, for messages.
  /// - Throws: ``CommandError`` if a name is unknown or missing, or has a dtype that it cannot have.
  init(_ tensors: [String: Tensor], for operation: OperatorName, source: String) throws {
    let inputs = InputName.all(of: operation)
    for name in tensors.keys.sorted() where !inputs.contains(where: { $0.name == name }) {
      throw CommandError(
        "\(source): \(operation.rawValue) takes no tensor named \(name); it takes "
          + inputs.map(\.name).joined(separator: ", "))
    }
    for input in inputs {
      guard let tensor = tensors[input.name] else {
        guard !input.facts.isRequired else {
          throw CommandError("\(source): \(input.name) \(input.facts.shape) is missing")
        }
        continue
      }
      guard input.facts.kind.accepts(tensor.dtype) else {
        throw CommandError(
          "\(source): \(input.name)", was: tensor.dtype.rawValue,
          mustBe: input.facts.kind.description)
      }
    }
    self.tensors = tensors
  }

  private init(_ tensors: [String: Tensor]) { self.tensors = tensors }

  /// A tensor that ``InputName`` marks as required.
  func required(_ name: String) throws -> Tensor {
    guard let tensor = tensors[name] else { throw CommandError("\(name) is missing") }
    return tensor
  }

  subscript(name: String) -> Tensor? { tensors[name] }

  /// The names of the inputs that have gradients, sorted: all of floating-point numbers but the
  /// incoming gradients themselves.
  var differentiable: [String] {
    tensors.keys.sorted().filter {
      tensors[$0]!.dtype.isFloatingPoint && !Self.incoming.contains($0)
    }
  }

  /// The same tensors, those that have gradients as leaves of the tape.
  func tracked() -> NamedTensors {
    let leaves = Set(differentiable)
    return NamedTensors(
      Dictionary(
        uniqueKeysWithValues: tensors.map { name, tensor in
          (name, leaves.contains(name) ? tensor.tracked() : tensor)
        }))
  }

  /// The same tensors on `device`; cumulative lengths, which decide what is launched there, stay.
  func moved(to device: Device) throws -> NamedTensors {
    let hosted = OperatorName.allCases.flatMap { InputName.all(of: $0) }.filter(\.facts.isHosted)
      .map(\.name)
    return NamedTensors(
      Dictionary(
        uniqueKeysWithValues: try tensors.map { name, tensor in
          (name, hosted.contains(name) ? tensor : try tensor.moved(to: device))
        }))
  }

  /// The same tensors with a gradient of `output` among them: a drawn one where none is given.
  func withGradient(of output: Tensor) throws -> NamedTensors {
    guard tensors["output_gradient"] == nil else { return self }
    var generator = Philox(seed: 0, label: "output_gradient")
    let drawn = try Tensor.normal(output.shape, using: &generator, dtype: output.dtype)
    return NamedTensors(
      tensors.merging(["output_gradient": try drawn.moved(to: output.device)]) { own, _ in own })
  }

  static let incoming = ["output_gradient", "final_state_gradient"]
}
