import AttentionTensors

/// What a ``ParameterScope`` reads parameters from: those in memory, or a file's.
public protocol ParameterSource: Sendable {
  /// The paths of all parameters.
  var paths: [String] { get }
  /// The parameter of a path; nil if there is none. Asked for once for each.
  func tensor(at path: String) throws -> Tensor?
}

/// The parameters of a model: tensors in order, each under its path.
///
/// The path names the layer of a tensor, such as `layers.0.mixer.q_proj.weight`, and is the tensor's
/// name in checkpoints.
public struct Parameters: ParameterSource {
  public private(set) var paths: [String] = []
  public private(set) var tensors: [Tensor] = []
  private var places: [String: Int] = [:]

  /// No parameters.
  public init() {}

  /// - Throws: ``LayerError/duplicateParameter(path:)``.
  public init(_ pairs: some Sequence<(path: String, tensor: Tensor)>) throws {
    for (path, tensor) in pairs { try append(path, tensor) }
  }

  public subscript(path: String) -> Tensor? { places[path].map { tensors[$0] } }

  public func tensor(at path: String) -> Tensor? { self[path] }

  /// How many elements all tensors have together.
  public var count: Int { tensors.reduce(0) { $0 + $1.elementCount } }

  /// The same parameters as leaves of the tape, for `Tensor.gradients(of:seed:areDifferentiable:)`.
  public func tracked() -> Parameters { mapping { $0.tracked() } }

  /// The same parameters on `device`.
  public func moved(to device: Device) throws -> Parameters {
    try mapping { try $0.moved(to: device) }
  }

  /// Other tensors in place of these, in the same order, such as the result of an optimizer step.
  ///
  /// - Throws: ``LayerError`` if there are more or fewer, or one differs in shape or dtype.
  public func replacing(_ replacements: [Tensor]) throws -> Parameters {
    guard replacements.count == tensors.count else {
      throw LayerError.invalidArgument(
        "replacements", was: "\(replacements.count) tensors", mustBe: "\(tensors.count) tensors")
    }
    for (place, replacement) in replacements.enumerated() {
      let own = tensors[place]
      guard replacement.shape == own.shape, replacement.dtype == own.dtype else {
        throw LayerError.mismatchedParameter(
          path: paths[place], was: "\(replacement.summary)", mustBe: "\(own.summary)")
      }
    }
    var result = self
    result.tensors = replacements
    return result
  }

  /// The parameters with `transform` applied to each tensor.
  public func mapping(_ transform: (Tensor) throws -> Tensor) rethrows -> Parameters {
    var result = self
    result.tensors = try tensors.map(transform)
    return result
  }

  mutating func append(_ path: String, _ tensor: Tensor) throws {
    guard places[path] == nil else { throw LayerError.duplicateParameter(path: path) }
    places[path] = tensors.count
    paths.append(path)
    tensors.append(tensor)
  }
}
