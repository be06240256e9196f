/// A statement of a template.
indirect enum TemplateStatement: Sendable {
  case text(String)
  case output(TemplateExpression)
  case conditional([Branch], otherwise: [TemplateStatement])
  case loop(Loop)
  case set([TemplateTarget], TemplateExpression)
  /// `set` whose value is the text of a block.
  case setBlock(TemplateTarget, [TemplateStatement])
  /// Defines the macro of this number.
  case macro(Int)
  /// Writes what a call gives; the called macro may call the block's statements as `caller()`.
  case call(TemplateExpression, body: [TemplateStatement])
  case breakLoop, continueLoop
  /// A part that stands for itself: `generation`.
  case group([TemplateStatement])

  struct Branch: Sendable {
    let condition: TemplateExpression
    let body: [TemplateStatement]
  }

  struct Loop: Sendable {
    let targets: [TemplateTarget]
    let elements: TemplateExpression
    let condition: TemplateExpression?
    let body: [TemplateStatement]
    let otherwise: [TemplateStatement]
  }
}

/// What is assigned to.
enum TemplateTarget: Sendable {
  case variable(String)
  /// A member of a namespace.
  case member(of: String, String)
}

/// A function that a template defines.
struct TemplateMacro: Sendable {
  let name: String
  /// Parameters in order, with what they are if they are not given.
  let parameters: [(name: String, value: TemplateExpression?)]
  let body: [TemplateStatement]
}

/// An expression, with the line it stands in.
struct TemplateExpression: Sendable {
  let line: Int
  let kind: Kind
  /// How many expressions lie inside each other.
  let depth: Int

  init(line: Int, kind: Kind) {
    self.line = line
    self.kind = kind
    depth = 1 + (kind.parts.map(\.depth).max() ?? 0)
  }

  indirect enum Kind: Sendable {
    case constant(TemplateValue)
    case variable(String)
    case list([TemplateExpression])
    case object([(key: TemplateExpression, value: TemplateExpression)])
    case member(TemplateExpression, String)
    case element(TemplateExpression, TemplateExpression)
    case slice(TemplateExpression, TemplateExpression?, TemplateExpression?, TemplateExpression?)
    case call(TemplateExpression, TemplateArguments)
    case filter(TemplateExpression, String, TemplateArguments)
    case test(TemplateExpression, String, TemplateArguments)
    case not(TemplateExpression)
    case negative(TemplateExpression)
    case and(TemplateExpression, TemplateExpression)
    case or(TemplateExpression, TemplateExpression)
    /// Compares neighbours; all must hold.
    case comparison(TemplateExpression, [(name: String, operand: TemplateExpression)])
    case arithmetic(String, TemplateExpression, TemplateExpression)
    case choice(TemplateExpression, condition: TemplateExpression, otherwise: TemplateExpression?)
  }
}

/// The arguments of a call, filter or test.
struct TemplateArguments: Sendable {
  var values: [TemplateExpression] = []
  /// A list whose elements are more values: `f(*list)`.
  var rest: TemplateExpression?
  var named: [(name: String, value: TemplateExpression)] = []
}

extension TemplateExpression.Kind {
  /// The expressions that this one is made of.
  fileprivate var parts: [TemplateExpression] {
    switch self {
    case .constant, .variable: []
    case .list(let values): values
    case .object(let members): members.flatMap { [$0.key, $0.value] }
    case .member(let value, _), .not(let value), .negative(let value): [value]
    case .element(let a, let b), .and(let a, let b), .or(let a, let b),
      .arithmetic(_, let a, let b):
      [a, b]
    case .slice(let value, let start, let end, let step):
      [value] + [start, end, step].compactMap(\.self)
    case .call(let value, let arguments), .filter(let value, _, let arguments),
      .test(let value, _, let arguments):
      [value] + arguments.values + arguments.named.map(\.value)
        + [arguments.rest].compactMap(\.self)
    case .comparison(let first, let others): [first] + others.map(\.operand)
    case .choice(let value, let condition, let otherwise):
      [value, condition] + [otherwise].compactMap(\.self)
    }
  }
}
