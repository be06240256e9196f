import AttentionCUDA
import AttentionTensors

/// An error in the use of a layer.
public enum LayerError: Error, Hashable, CustomStringConvertible {
  /// An argument has an invalid value: its name, what it was and what it must be.
  case invalidArgument(_ name: String, was: String, mustBe: String)
  /// A layer needs a parameter that is not among those given.
  case missingParameter(path: String, expected: String)
  /// A parameter does not have the shape or dtype that its layer needs.
  case mismatchedParameter(path: String, was: String, mustBe: String)
  /// Two parameters have the same path.
  case duplicateParameter(path: String)
  /// Parameters were given that no layer uses.
  case unusedParameters(paths: [String])

  public var description: String {
    switch self {
    case .invalidArgument(let name, let was, let mustBe):
      "\(name.shown) is \(was.shown); it must be \(mustBe.shown)"
    case .missingParameter(let path, let expected):
      "parameter \(path.shown) is missing; it must be \(expected.shown)"
    case .mismatchedParameter(let path, let was, let mustBe):
      "parameter \(path.shown) is \(was.shown); it must be \(mustBe.shown)"
    case .duplicateParameter(let path):
      "parameter \(path.shown) exists twice"
    case .unusedParameters(let paths):
      "no layer uses the parameter\(paths.count == 1 ? "" : "s") \(paths.joined(separator: ", ").shown)"
    }
  }
}

extension LayerError {
  /// The largest extent of a layer.
  private static let largestExtent = 1 << 20

  /// Throws ``invalidArgument(_:was:mustBe:)`` unless `value` is from 1 to `largestExtent`.
  static func require(_ name: String, isExtent value: Int) throws {
    guard value >= 1, value <= largestExtent else {
      throw invalidArgument(name, was: "\(value)", mustBe: "in 1...\(largestExtent)")
    }
  }

  /// Throws ``invalidArgument(_:was:mustBe:)`` unless `value` is at least `least`.
  static func require(_ name: String, _ value: Int, atLeast least: Int) throws {
    guard value >= least else {
      throw invalidArgument(name, was: "\(value)", mustBe: "at least \(least)")
    }
  }

  /// Throws ``invalidArgument(_:was:mustBe:)`` unless `value` is a finite number above 0.
  static func require(_ name: String, isPositive value: Double) throws {
    guard value > 0, value.isFinite else {
      throw invalidArgument(name, was: "\(value)", mustBe: "a number above 0")
    }
  }

  /// Throws ``invalidArgument(_:was:mustBe:)`` unless `x` is [batch, length, width].
  static func require(tokens x: Tensor, width: Int) throws {
    guard x.rank == 3, x.shape[2] == width else {
      throw invalidArgument("x", was: "\(x.shape)", mustBe: "[batch, length, \(width)]")
    }
  }
}
