import AttentionFiles

/// Why a tokenizer cannot be opened, or a text not be encoded.
public enum TokenizerError: Error, Equatable, CustomStringConvertible {
  /// A file cannot be read or written.
  case file(path: String, reason: String)
  /// A file is not of the format that its name says.
  case syntax(source: String, reason: String)
  /// A file asks for something that this library does not have: its place in the file, and what it is.
  case unsupported(source: String, component: String)
  /// A value in a file makes no sense: its place, what it is and what it must be.
  case invalidValue(source: String, place: String, was: String, mustBe: String)
  /// A regular expression cannot be read.
  case pattern(String, reason: String)
  /// A regular expression takes more steps on a text than any published one: `limit` of them.
  case tooManySteps(pattern: String, limit: Int)
  /// An argument is invalid: its name, what it was and what it must be.
  case invalidArgument(_ name: String, was: String, mustBe: String)

  public var description: String {
    switch self {
    case .file(let path, let reason): "\(path.shown): \(reason.shown)"
    case .syntax(let source, let reason): "\(source.shown): \(reason.shown)"
    case .unsupported(let source, let component):
      "\(source.shown): \(component.shown) is not supported"
    case .invalidValue(let source, let place, let was, let mustBe):
      "\(source.shown): \(place.shown) is \(was.shown); it must be \(mustBe)"
    case .pattern(let pattern, let reason):
      "the regular expression \(pattern.shown): \(reason.shown)"
    case .tooManySteps(let pattern, let limit):
      "the regular expression \(pattern.shown) takes more than \(limit) steps on this text"
    case .invalidArgument(let name, let was, let mustBe):
      "\(name.shown) is \(was.shown); it must be \(mustBe)"
    }
  }
}
