extension PostProcessor {
  /// A post-processor as `tokenizer.json` describes it; of templates that for one text.
  ///
  /// - Parameter token: the number of a special token by its text.
  init(_ component: JSONComponent, token: (String) -> Int32?) throws {
    self.init()
    switch try component.type {
    case "ByteLevel": break
    case "BertProcessing", "RobertaProcessing":
      prefix = [try Self.pair("cls", of: component)]
      suffix = [try Self.pair("sep", of: component)]
    case "TemplateProcessing": try readTemplate(component)
    case "Sequence":
      for step in try component.components("processors") {
        let inner = try PostProcessor(step, token: token)
        prefix = inner.prefix + prefix
        suffix += inner.suffix
      }
    case let type: throw component.unsupported("the post-processor \(type)")
    }
  }

  /// The token of `["[CLS]", 101]`.
  private static func pair(_ key: String, of component: JSONComponent) throws -> Int32 {
    guard case .array(let values)? = component[key], values.count == 2,
      case .integer(let number) = values[1], let token = Int32(exactly: number), token >= 0
    else { throw component.invalid(key, mustBe: "a token and its number") }
    return token
  }

  private mutating func readTemplate(_ component: JSONComponent) throws {
    var hasText = false
    for part in try component.components("single") {
      if part["Sequence"] != nil {
        guard !hasText else { throw component.unsupported("a template that has the text twice") }
        hasText = true
        continue
      }
      let name = try part.component("SpecialToken").string("id")
      let tokens = try component.component("special_tokens").component(name)
      guard case .array(let ids)? = tokens["ids"] else {
        throw tokens.invalid("ids", mustBe: "an array of numbers")
      }
      for id in ids {
        guard case .integer(let number) = id, let token = Int32(exactly: number), token >= 0 else {
          throw tokens.invalid("ids", mustBe: "an array of numbers")
        }
        if hasText { suffix.append(token) } else { prefix.append(token) }
      }
    }
  }
}
