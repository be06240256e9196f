/// A value while a template is rendered, with the rules of Python, which templates are written for.
indirect enum TemplateValue: Sendable {
  /// A variable or member that does not exist; its name.
  case undefined(String)
  case none
  case bool(Bool)
  case integer(Int)
  case number(Double)
  case string(String)
  case list([TemplateValue])
  case object(TemplateObject)
  /// What `namespace(…)` makes: a place in the interpreter's memory.
  case namespace(Int)
  case function(TemplateFunction)

  init(_ value: ChatValue) {
    switch value {
    case .null: self = .none
    case .bool(let value): self = .bool(value)
    case .integer(let value): self = .integer(value)
    case .number(let value): self = .number(value)
    case .string(let value): self = .string(value)
    case .array(let values): self = .list(values.map(TemplateValue.init))
    case .object(let members):
      var object = TemplateObject()
      for member in members { object[member.key] = TemplateValue(member.value) }
      self = .object(object)
    }
  }

  var isTrue: Bool {
    switch self {
    case .undefined, .none: false
    case .bool(let value): value
    case .integer(let value): value != 0
    case .number(let value): value != 0
    case .string(let value): !value.isEmpty
    case .list(let values): !values.isEmpty
    case .object(let object): !object.members.isEmpty
    case .namespace, .function: true
    }
  }

  /// The value as a number, where bool counts as 0 or 1.
  var number: Double? {
    switch self {
    case .bool(let value): value ? 1 : 0
    case .integer(let value): Double(value)
    case .number(let value): value
    default: nil
    }
  }

  /// The value as a whole number, where bool counts as 0 or 1.
  var integer: Int? {
    switch self {
    case .bool(let value): value ? 1 : 0
    case .integer(let value): value
    default: nil
    }
  }

  var isUndefined: Bool { if case .undefined = self { true } else { false } }

  /// What Python calls the kind of value.
  var kind: String {
    switch self {
    case .undefined(let name): "undefined (\(name))"
    case .none: "None"
    case .bool: "a bool"
    case .integer: "an int"
    case .number: "a float"
    case .string: "a string"
    case .list: "a list"
    case .object: "a dict"
    case .namespace: "a namespace"
    case .function: "a function"
    }
  }
}

extension TemplateValue: Equatable {
  /// Numbers are compared by value, texts scalar by scalar.
  static func == (a: TemplateValue, b: TemplateValue) -> Bool {
    switch (a, b) {
    case (.undefined, .undefined), (.none, .none): return true
    case (.string(let a), .string(let b)): return a.utf8.elementsEqual(b.utf8)
    case (.list(let a), .list(let b)): return a == b
    case (.object(let a), .object(let b)):
      return a.members.count == b.members.count
        && a.members.allSatisfy { b[$0.key].map { [$0] } == [$0.value] }
    case (.namespace(let a), .namespace(let b)): return a == b
    default:
      if let a = a.integer, let b = b.integer { return a == b }
      guard let a = a.number, let b = b.number else { return false }
      return a == b
    }
  }
}

/// An object whose members keep the order in which they came.
struct TemplateObject: Sendable {
  private(set) var members: [(key: String, value: TemplateValue)] = []

  /// The place of a key, compared scalar by scalar.
  private func index(_ key: String) -> Int? {
    members.firstIndex { $0.key.utf8.elementsEqual(key.utf8) }
  }

  subscript(key: String) -> TemplateValue? {
    get { index(key).map { members[$0].value } }
    set {
      guard let newValue else { return }
      if let index = index(key) {
        members[index].value = newValue
      } else {
        members.append((key, newValue))
      }
    }
  }
}

/// Something that a template can call.
enum TemplateFunction: Sendable {
  /// A function of the language: `range`, `namespace`, `raise_exception`…
  case global(String)
  /// A method of a value.
  case method(String, of: TemplateValue)
  /// A macro of the template, by its place in the interpreter.
  case macro(Int)
  /// The statements of a `call` block, by its place in the interpreter.
  case caller(Int)
}
