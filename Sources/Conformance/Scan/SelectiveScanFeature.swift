/// The options of the selective scan and special inputs that cases combine.
public enum SelectiveScanFeature: String, CaseFeature {
  case softplus
  case stepBias = "bias of the step"
  case skip
  case longSteps = "long steps"
  case forgetting = "rates of -inf"
  case initialState = "initial state"
  case finalStateGradient = "final state gradient"
  case packed
  case wide = "rows apart"
  case strided
  case oneChannel = "one channel"
  case oneState = "one state"
  case manyStates = "37 states"
  case halfMatrices = "matrices of the inputs' dtype"
  case bfloat16, float16

  public var group: String {
    switch self {
    case .wide, .strided: "layout"
    case .oneState, .manyStates: "states"
    case .bfloat16, .float16: "dtype"
    default: rawValue
    }
  }

  public func excludes(_ other: Self) -> Bool { false }

  /// Combinations beyond pairs.
  static let more: [[SelectiveScanFeature]] = [
    [.softplus, .stepBias, .skip], [.softplus, .longSteps, .forgetting, .initialState],
    [.forgetting, .initialState, .finalStateGradient, .packed],
    [.longSteps, .initialState, .finalStateGradient],
    [.softplus, .stepBias, .skip, .initialState, .finalStateGradient, .packed, .strided],
    [.softplus, .stepBias, .skip, .packed, .initialState, .wide, .halfMatrices, .bfloat16],
    [.softplus, .stepBias, .skip, .packed, .finalStateGradient, .manyStates, .float16],
  ]
}
