import AttentionOperators
import AttentionTensors

/// One combination of sizes, dtype and flags that every kernel of an operator must get right.
public protocol ConformanceCase: Sendable {
  /// The whole combination in words.
  var name: String { get }

  /// The inputs, drawn from `seed` and the name.
  func makeProblem(seed: UInt64) throws -> any ConformanceProblem
}

/// A case with its inputs: what can be computed, and how.
public protocol ConformanceProblem {
  /// The dtype whose bounds apply.
  var dtype: DType { get }

  /// The kernel that says what is right, given float64 inputs.
  var reference: String { get }

  /// The plain computation in the inputs' own dtype, if the operator has one.
  var unfused: String? { get }

  /// The names of the kernels that have no objection, with the current instruction set.
  func kernels(needsGradient: Bool) throws -> [String]

  /// All outputs by name and, with gradients, `<input>_gradient` for every input.
  ///
  /// - Parameters:
  ///   - kernel: the kernel to run.
  ///   - isExact: whether inputs are converted to float64 first.
  ///   - gradients: whether gradients are computed.
  func results(kernel: String, isExact: Bool, gradients: Bool) throws -> [String: Tensor]

  /// The verdicts of the operator's kernels on this problem on `device`. An operator without GPU kernels
  /// has none there.
  func candidates(on device: Device, needsGradient: Bool) throws -> [Explanation.Candidate]

  /// As ``results(kernel:isExact:gradients:)``, computed on a GPU.
  func results(kernel: String, on device: Device, gradients: Bool) throws -> [String: Tensor]

  /// For results whose terms can cancel, by name, the size of the terms.
  func termSizes(reference: [String: Tensor]) throws -> [String: Double]

  /// What must hold exactly, beside the errors: nil, or what does not.
  func exactViolation(_ results: [String: Tensor], reference: [String: Tensor]) throws -> String?
}

extension ConformanceProblem {
  public func candidates(on device: Device, needsGradient: Bool) throws
    -> [Explanation.Candidate]
  {
    []
  }

  public func results(kernel: String, on device: Device, gradients: Bool) throws
    -> [String: Tensor]
  {
    try results(kernel: kernel, isExact: false, gradients: gradients)
  }
}

/// A kernel that did not get a case right.
public struct ConformanceFailure: Sendable, CustomStringConvertible {
  public let caseName: String
  public let seed: UInt64
  /// The kernel, with its instruction set; nil where the case failed before any ran.
  public let kernel: String?
  /// What is wrong: the tensor, its error, the bound, and the worst element.
  public let reason: String

  public var description: String {
    "\(caseName) [seed \(seed)]\(kernel.map { " on \($0)" } ?? ""): \(reason)"
  }
}

/// What running a case showed.
public struct ConformanceResult: Sendable {
  public internal(set) var failures: [ConformanceFailure] = []
  /// How many times a kernel ran and was compared.
  public internal(set) var runs = 0
  /// The largest error divided by its bound, over all runs.
  public internal(set) var worstShare = 0.0
  /// Why kernels of the device did not run, or not with gradients: the kernel and its reason.
  public internal(set) var objections: [String] = []
}
