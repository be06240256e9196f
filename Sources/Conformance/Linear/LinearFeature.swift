/// The options of linear attention and special inputs that cases combine.
public enum LinearFeature: String, CaseFeature {
  case decayHeads = "decay per head"
  case decayTokens = "decay per token"
  case decayChannels = "decay per channel"
  case strong = "strong decay"
  case forgetting = "decay of -inf"
  case bonus
  case delta
  case readKeys = "read keys"
  case lowRank = "low rank"
  case scaleNumber = "scale"
  case normalized = "normalised"
  case initialState = "initial state"
  case finalStateGradient = "final state gradient"
  case packed
  case groupedValue = "grouped-value"
  case valueDimension = "value dimension"
  case strided
  case oneHead = "one head"
  case garbage = "garbage in another sequence"
  case bfloat16, float16

  public var group: String {
    switch self {
    case .decayHeads, .decayTokens, .decayChannels: "decay"
    case .strong, .forgetting: "strength"
    case .bonus, .delta, .readKeys, .lowRank: "update"
    case .groupedValue, .oneHead: "heads"
    case .bfloat16, .float16: "dtype"
    default: rawValue
    }
  }

  public func excludes(_ other: Self) -> Bool { false }

  /// Whether a token removes from the state what it reads there.
  var isErasing: Bool { [.delta, .readKeys, .lowRank].contains(self) }

  /// Combinations beyond pairs: the strength of a decay and the states matter only with a decay, and with every
  /// update.
  static let triples: [[LinearFeature]] = {
    let updates: [LinearFeature] = [.bonus, .delta, .readKeys, .lowRank]
    let decays: [LinearFeature] = [.decayHeads, .decayTokens, .decayChannels]
    let others: [[LinearFeature]] = [
      [.strong, .packed], [.strong, .initialState], [.strong, .bfloat16], [.strong, .float16],
      [.strong, .groupedValue], [.forgetting], [.forgetting, .initialState, .packed],
      [.forgetting, .bfloat16], [.initialState, .finalStateGradient], [.packed, .initialState],
      [.strong, .initialState, .finalStateGradient, .packed, .groupedValue, .normalized, .strided],
    ]
    return decays.flatMap { decay in
      others.map { [decay] + $0 }
        + updates.flatMap { update in others.map { [decay, update] + $0 } }
    }
  }()
}
