import AttentionCUDA

/// What is wrong in a configuration. Paths are dotted: `model.layers.2.type`.
public enum ConfigurationError: Error, Equatable, CustomStringConvertible {
  /// A configuration file cannot be read.
  case file(path: String, reason: String)
  /// The text is not JSON5.
  case syntax(source: String, reason: String)
  /// A key that the configuration does not have; the known key it may have been meant to be, and all that
  /// there are in its place.
  case unknownKey(_ path: String, nearest: String?, known: [String])
  /// A key that has no default is absent.
  case missingKey(_ path: String)
  /// A value of the wrong kind, or one that makes no sense.
  case invalidValue(_ path: String, was: String, mustBe: String)

  public var description: String {
    switch self {
    case .file(let path, let reason):
      return "\(path.shown): \(reason.shown)"
    case .syntax(let source, let reason):
      return "\(source.shown): not JSON5: \(reason.shown)"
    case .unknownKey(let path, let nearest, let known):
      let guess = nearest.map { "; did you mean \($0)? The" } ?? "; the"
      return "unknown key \(path.shown)\(guess) keys are \(known.joined(separator: ", "))"
    case .missingKey(let path):
      return "\(path.shown) is missing"
    case .invalidValue(let path, let was, let mustBe):
      return "\(path.shown) is \(was.shown); it must be \(mustBe.shown)"
    }
  }

  /// Whether ``description`` begins with the file's path.
  var namesFile: Bool {
    switch self {
    case .file, .syntax: true
    case .unknownKey, .missingKey, .invalidValue: false
    }
  }
}
