import AttentionOperators
import AttentionTensors

/// One combination of sizes, dtype and flags on which every kernel of an operator must be correct.
public protocol ConformanceCase: Sendable {
  /// A description of the whole combination.
  var name: String { get }

  /// The inputs, drawn from `seed` and the name.
  func makeProblem(seed: UInt64) throws -> any ConformanceProblem
}

/// A flag or choice of a case; a case has at most one of a group.
public protocol CaseFeature: Hashable, CaseIterable, Sendable, RawRepresentable
where RawValue == String {
  /// The name of the group of alternatives.
  var group: String { get }

  /// Whether no case can have both, for reasons other than a shared group.
  func excludes(_ other: Self) -> Bool
}

extension CaseFeature {
  /// No feature, each alone, and each compatible pair.
  static var aloneAndInPairs: [[Self]] {
    let all = Array(allCases)
    var combinations: [[Self]] = [[]] + all.map { [$0] }
    for (index, first) in all.enumerated() {
      for second in all[(index + 1)...]
      where first.group != second.group && !first.excludes(second) && !second.excludes(first) {
        combinations.append([first, second])
      }
    }
    return combinations
  }
}

/// A case of an operator with features.
public protocol FeaturedCase: ConformanceCase {
  associatedtype Feature: CaseFeature

  /// The operator and its sizes, as `scan b=1 t=9 d=8`.
  var sizes: String { get }
  var dtype: DType { get set }
  var features: [Feature] { get }
}

extension FeaturedCase {
  public var name: String {
    let sizes = "\(sizes) \(dtype.rawValue)"
    return features.isEmpty
      ? sizes : "\(sizes): \(features.map(\.rawValue).joined(separator: ", "))"
  }

  func has(_ feature: Feature) -> Bool { features.contains(feature) }
}

/// The inputs of a case, and the computations on them.
public protocol ConformanceProblem {
  /// The dtype whose bounds apply.
  var dtype: DType { get }

  /// The kernel that defines correct results, given float64 inputs.
  var reference: String { get }

  /// The unfused computation in the inputs' own dtype, if the operator has one.
  var unfused: String? { get }

  /// The names of the kernels without an objection, with the current instruction set.
  func kernels(needsGradient: Bool) throws -> [String]

  /// All outputs by name and, with gradients, `<input>_gradient` for every input.
  ///
  /// - Parameters:
  ///   - kernel: the kernel to run.
  ///   - isExact: whether inputs are converted to float64 first.
  ///   - gradients: whether gradients are computed.
  func results(kernel: String, isExact: Bool, gradients: Bool) throws -> [String: Tensor]

  /// The verdicts of the operator's kernels on this problem on `device`; empty if the operator has no kernels
  /// there.
  func candidates(on device: Device, needsGradient: Bool) throws -> [Explanation.Candidate]

  /// The same as ``results(kernel:isExact:gradients:)``, computed on a GPU.
  func results(kernel: String, on device: Device, gradients: Bool) throws -> [String: Tensor]

  /// The size of the terms of results whose terms can cancel, by name.
  func termSizes(reference: [String: Tensor]) throws -> [String: Double]

  /// A violation of what must hold exactly, regardless of errors; nil if there is none.
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

/// A kernel's failure on a case.
public struct ConformanceFailure: Sendable, CustomStringConvertible {
  public let caseName: String
  public let seed: UInt64
  /// The kernel, with its instruction set; nil if the case failed before any kernel ran.
  public let kernel: String?
  /// What is wrong: the tensor, its error, the bound, and the worst element.
  public let reason: String

  public var description: String {
    "\(caseName) [seed \(seed)]\(kernel.map { " on \($0)" } ?? ""): \(reason)"
  }
}

/// The result of a case.
public struct ConformanceResult: Sendable {
  public internal(set) var failures: [ConformanceFailure] = []
  /// The number of comparisons made.
  public internal(set) var runs = 0
  /// The largest error divided by its bound, over all runs.
  public internal(set) var worstShare = 0.0
  /// Why kernels did not run on the device, or not with gradients: each kernel with its reason.
  public internal(set) var objections: [String] = []
}
