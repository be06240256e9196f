import AttentionFiles

/// Why a chat template cannot be read or rendered.
public enum ChatTemplateError: Error, Equatable, CustomStringConvertible {
  /// A file has no template, or cannot be read.
  case file(path: String, reason: String)
  /// The template is not of the language, or uses a part of it that is not supported.
  case syntax(line: Int, reason: String)
  /// A value cannot be used as the template uses it.
  case evaluation(line: Int, reason: String)
  /// The template refuses the conversation, by `raise_exception`.
  case refused(String)
  /// Rendering takes more steps, or gives more text, than any conversation does.
  case tooLong(limit: Int)

  public var description: String {
    switch self {
    case .file(let path, let reason): "\(path.shown): \(reason.shown)"
    case .syntax(let line, let reason): "the chat template, line \(line): \(reason.shown)"
    case .evaluation(let line, let reason): "the chat template, line \(line): \(reason.shown)"
    case .refused(let message): "the chat template refuses this conversation: \(message.shown)"
    case .tooLong(let limit): "the chat template takes more than \(limit) steps"
    }
  }
}
