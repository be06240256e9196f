import AttentionTensors
import Synchronization

/// Where layers get their parameters: a path, and either a seed that draws them or parameters of a
/// checkpoint or training step that are read.
///
///     let drawn = ParameterScope(seed: 0)
///     let layer = try Linear(inputs: 4, outputs: 8, scope: drawn["q_proj"])
///     drawn.parameters.paths  // ["q_proj.weight"]
///
///     let read = ParameterScope(drawn.parameters.tracked())
///     let same = try Linear(inputs: 4, outputs: 8, scope: read["q_proj"])
///     try read.requireAllUsed()
///
/// A drawn parameter depends only on the seed and its path, not on what is drawn before it. Reading
/// copies nothing, so every training step can build the model anew.
public struct ParameterScope: Sendable {
  private enum Source {
    case seed(UInt64)
    case stored(any ParameterSource)
    case shapes
  }

  /// What all scopes of one model share.
  private final class Registry: Sendable {
    let source: Source
    let dtype: DType
    let registered = Mutex(Parameters())

    init(source: Source, dtype: DType) {
      self.source = source
      self.dtype = dtype
    }
  }

  private let registry: Registry
  /// The path of this scope; empty at the root.
  public let path: String

  private init(registry: Registry, path: String) {
    self.registry = registry
    self.path = path
  }

  /// Parameters are drawn.
  public init(seed: UInt64, dtype: DType = .float32) {
    self.init(registry: Registry(source: .seed(seed), dtype: dtype), path: "")
  }

  /// Parameters are read from `parameters` and must have `dtype`.
  public init(_ parameters: some ParameterSource, dtype: DType = .float32) {
    self.init(registry: Registry(source: .stored(parameters), dtype: dtype), path: "")
  }

  /// Each parameter is a single broadcast zero: to list a model's parameters without their memory.
  package static func shapes(dtype: DType = .float32) -> ParameterScope {
    ParameterScope(registry: Registry(source: .shapes, dtype: dtype), path: "")
  }

  /// The scope below this one.
  public subscript(name: String) -> ParameterScope {
    ParameterScope(registry: registry, path: qualified(name))
  }

  /// The dtype of all parameters.
  public var dtype: DType { registry.dtype }

  /// The parameters that layers have obtained so far, in that order.
  public var parameters: Parameters { registry.registered.withLock { $0 } }

  /// The parameter `name` of this scope: drawn by `initializer`, or read.
  ///
  /// - Throws: ``LayerError/missingParameter(path:expected:)`` or
  ///   ``LayerError/mismatchedParameter(path:was:mustBe:)`` if it cannot be read,
  ///   ``LayerError/duplicateParameter(path:)`` if a layer has it already.
  public func parameter(_ name: String, _ shape: Shape, _ initializer: Initializer) throws
    -> Tensor
  {
    let path = qualified(name)
    let tensor: Tensor
    switch registry.source {
    case .seed(let seed):
      var generator = Philox(seed: seed, label: path)
      tensor = try initializer.tensor(shape, dtype: dtype, using: &generator)
    case .stored(let parameters):
      guard let found = try parameters.tensor(at: path) else {
        throw LayerError.missingParameter(path: path, expected: "\(dtype.rawValue) \(shape)")
      }
      guard found.shape == shape, found.dtype == dtype else {
        throw LayerError.mismatchedParameter(
          path: path, was: "\(found.dtype.rawValue) \(found.shape)",
          mustBe: "\(dtype.rawValue) \(shape)")
      }
      tensor = found
    case .shapes:
      tensor = try Tensor.zeros(shape, dtype: dtype)
    }
    try registry.registered.withLock { try $0.append(path, tensor) }
    return tensor
  }

  /// Throws ``LayerError/unusedParameters(paths:)`` if parameters were given that no layer uses. Call
  /// it when the model is built.
  public func requireAllUsed() throws {
    guard case .stored(let given) = registry.source else { return }
    let used = parameters
    let unused = given.paths.filter { used[$0] == nil }
    guard unused.isEmpty else { throw LayerError.unusedParameters(paths: unused) }
  }

  private func qualified(_ name: String) -> String { path.isEmpty ? name : path + "." + name }
}

/// The distribution of a parameter's initial elements.
public enum Initializer: Hashable, Sendable {
  case zeros
  case ones
  /// Every element has this value.
  case constant(Double)
  /// Every row of the last axis has these elements.
  case row([Double])
  /// The normal distribution around 0.
  case normal(standardDeviation: Double)
  /// The uniform distribution over the half-open range.
  case uniform(from: Double, to: Double)

  /// The normal distribution whose products with vectors of `inputs` elements of variance 1 have
  /// variance `scale`².
  public static func scaledNormal(inputs: Int, scale: Double = 1) -> Initializer {
    .normal(standardDeviation: scale / Double(max(1, inputs)).squareRoot())
  }

  /// A contiguous tensor drawn with `generator`.
  func tensor(_ shape: Shape, dtype: DType, using generator: inout Philox) throws -> Tensor {
    switch self {
    case .zeros: try Tensor.zeros(shape, dtype: dtype).contiguous()
    case .ones: try Tensor.ones(shape, dtype: dtype).contiguous()
    case .constant(let value): try Tensor.full(shape, value, dtype: dtype).contiguous()
    case .row(let elements):
      try Tensor(elements).cast(to: dtype).expanded(to: shape).contiguous()
    case .normal(let standardDeviation):
      try .normal(
        shape, standardDeviation: standardDeviation, using: &generator, dtype: dtype)
    case .uniform(let low, let high):
      try .uniform(shape, from: low, to: high, using: &generator, dtype: dtype)
    }
  }
}
