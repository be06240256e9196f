import AttentionJSON

/// The chat template of a model: how a conversation becomes text.
///
/// Templates are programs in Jinja, of which this library has what published models use: `for`, `if`, `set` with
/// namespaces, macros, filters, tests, slices, the methods of strings, control of white space. A template comes with
/// a model and is not trusted: it reads what it is given and gives text, and the number of its steps is limited.
///
///     let template = try ChatTemplate(folder: "models/llama")
///     let text = try template.render(
///       messages: [.message(role: "user", content: "What is attention?")], addsGenerationPrompt: true)
public struct ChatTemplate: Sendable {
  /// The most steps of rendering unless another number is given.
  public static let defaultStepLimit = 5_000_000

  /// Variables that every conversation has, such as `bos_token`.
  public var variables: [String: ChatValue]

  /// What `strftime_now(format)` gives, for templates that tell the date; nil refuses it.
  public var formattedTime: (@Sendable (String) -> String)?

  private let statements: [TemplateStatement]
  private let macros: [TemplateMacro]

  /// - Parameters:
  ///   - template: the program.
  ///   - variables: what every conversation has besides its messages.
  /// - Throws: ``ChatTemplateError/syntax(line:reason:)``.
  public init(_ template: String, variables: [String: ChatValue] = [:]) throws {
    var parser = try TemplateParser(template)
    statements = try parser.template()
    macros = parser.macros
    self.variables = variables
  }

  /// The text of a conversation.
  ///
  /// - Parameters:
  ///   - messages: the messages in order; objects with `role` and `content`, and what else the template knows.
  ///   - tools: descriptions of functions that the model may call; nil for none.
  ///   - addsGenerationPrompt: whether the text ends where the model's answer begins.
  ///   - others: more variables of the template.
  ///   - stepLimit: the most steps.
  /// - Throws: ``ChatTemplateError``.
  public func render(
    messages: [ChatValue], tools: [ChatValue]? = nil, addsGenerationPrompt: Bool = false,
    variables others: [String: ChatValue] = [:], stepLimit: Int = defaultStepLimit
  ) throws -> String {
    var all: [String: ChatValue] = [
      "messages": .array(messages), "tools": tools.map { .array($0) } ?? .null,
      "documents": .null, "add_generation_prompt": .bool(addsGenerationPrompt),
    ]
    all.merge(variables) { $1 }
    all.merge(others) { $1 }
    return try render(all, stepLimit: stepLimit)
  }

  /// The text of a conversation with all that belongs to it.
  ///
  /// - Parameters:
  ///   - conversation: an object with the variables of the template: `messages` and others.
  ///   - stepLimit: the most steps.
  /// - Throws: ``ChatTemplateError``.
  public func render(
    conversation: ChatValue, stepLimit: Int = defaultStepLimit
  ) throws -> String {
    guard case .object(let members) = conversation,
      case .array(let messages)? = conversation["messages"]
    else {
      throw ChatTemplateError.refused("a conversation must be an object with an array messages")
    }
    let others = members.filter { $0.key != "messages" }
    return try render(
      messages: messages, variables: Dictionary(others.map { ($0.key, $0.value) }) { $1 },
      stepLimit: stepLimit)
  }

  /// The text that the template gives for `variables` and nothing else.
  ///
  /// - Throws: ``ChatTemplateError``.
  func render(_ variables: [String: ChatValue], stepLimit: Int = defaultStepLimit) throws -> String
  {
    var interpreter = TemplateInterpreter(
      macros: macros, variables: variables.mapValues(TemplateValue.init), mostSteps: stepLimit,
      formattedTime: formattedTime)
    var text = ""
    _ = try interpreter.run(statements, into: &text)
    return text
  }
}
