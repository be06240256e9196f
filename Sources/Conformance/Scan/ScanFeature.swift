/// The options of the gated scan and special inputs that cases combine.
public enum ScanFeature: String, CaseFeature {
  case strong = "strong decay"
  case forgetting = "decay of -inf"
  case initialState = "initial state"
  case finalStateGradient = "final state gradient"
  case packed
  case wide = "rows apart"
  case strided
  case oneChannel = "one channel"
  case sameDType = "decay of the inputs' dtype"
  case garbage = "garbage in another sequence"
  case bfloat16, float16

  public var group: String {
    switch self {
    case .strong, .forgetting: "decay"
    case .wide, .strided: "layout"
    case .bfloat16, .float16: "dtype"
    default: rawValue
    }
  }

  public func excludes(_ other: Self) -> Bool { false }

  /// Combinations beyond pairs.
  static let more: [[ScanFeature]] = [
    [.strong, .initialState, .packed], [.strong, .initialState, .finalStateGradient],
    [.strong, .sameDType, .bfloat16], [.strong, .sameDType, .float16],
    [.forgetting, .initialState, .finalStateGradient, .packed, .wide],
    [.strong, .initialState, .finalStateGradient, .packed, .strided, .sameDType, .bfloat16],
    [.strong, .initialState, .finalStateGradient, .packed, .wide, .sameDType, .float16],
  ]
}
