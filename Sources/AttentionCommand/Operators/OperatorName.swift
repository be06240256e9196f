/// The operators that the tool runs.
enum OperatorName: String, CaseIterable {
  case softmax, cosine, linear, scan

  /// Whether this is a similarity of exact attention.
  var isExact: Bool { self == .softmax || self == .cosine }

  /// - Throws: ``CommandError`` that names the operators.
  init(argument: String) throws {
    guard let name = Self(rawValue: argument) else {
      throw CommandError("OPERATOR", was: argument, mustBe: Self.list)
    }
    self = name
  }

  /// As `one of softmax, cosine, linear, scan`.
  static let list = "one of " + allCases.map(\.rawValue).joined(separator: ", ")
}
