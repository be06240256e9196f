import AttentionOperators

/// The options of exact attention and special inputs that cases combine.
public enum ExactFeature: String, CaseFeature {
  case causal
  case causalTopLeft = "causal top-left"
  case window = "window 7,5"
  case windowLeft = "causal window 9,all"
  case windowRight = "window all,3 top-left"
  case keyMask = "key mask"
  case packed
  case biasFull = "bias [b,h,t,s]"
  case biasHeads = "bias [1,h,t,s]"
  case biasBatch = "bias [b,1,1,s]"
  case biasMatrix = "bias [t,s]"
  case biasInfinite = "bias [b,1,1,s] with -inf"
  case alibi = "ALiBi"
  case slopes = "ALiBi slopes"
  case softcap
  case logitDecay = "logit decay"
  case sinks
  case groupedQuery = "grouped-query"
  case multiQuery = "multi-query"
  case valueDimension = "value dimension"
  case scaleNumber = "scale"
  case scaleHeads = "scale per head"
  case cosine
  case cosineGroups = "cosine groups"
  case cosinePlain = "cosine unnormalised"
  case sharp = "sharp softmax"
  case zeroVectors = "zero vectors"
  case strided
  case logSumExpGradient = "log-sum-exp gradient"
  case moreKeys = "more keys"
  case moreQueries = "more queries"
  case hiddenPadding = "garbage in padding"
  case edgeKey = "garbage, a key at the edge"
  case edgeQuery = "garbage, a query at the edge"
  case bfloat16, float16
  case biasHuge = "bias [t,s] of -1e9 to 3e38"
  case biasBFloat16 = "bias in bfloat16"
  case biasFloat16 = "bias in float16"
  case biasBool = "bias in bool"
  case logitDecayCut = "logit decay with -inf"
  case sinksExtreme = "sinks of -inf to 3e38"
  case scoresHuge = "scores of 1e9"

  public var group: String {
    switch self {
    case .causal, .causalTopLeft, .window, .windowLeft, .windowRight: "band"
    case .biasFull, .biasHeads, .biasBatch, .biasMatrix, .biasInfinite, .biasHuge: "bias"
    case .biasBFloat16, .biasFloat16, .biasBool: "bias dtype"
    case .logitDecay, .logitDecayCut: "logit decay"
    case .sinks, .sinksExtreme: "sinks"
    case .sharp, .scoresHuge: "sharpness"
    case .alibi, .slopes: "alibi"
    case .groupedQuery, .multiQuery: "heads"
    case .scaleNumber, .scaleHeads: "scale"
    case .cosine, .cosineGroups, .cosinePlain: "similarity"
    case .moreKeys, .moreQueries: "lengths"
    case .hiddenPadding, .edgeKey, .edgeQuery: "garbage"
    case .bfloat16, .float16: "dtype"
    default: rawValue
    }
  }

  /// Sets what it is in the operator's options; a feature that is no option, or is a tensor, sets nothing.
  func set(_ options: inout ExactOptions) {
    switch self {
    case .causal: options.isCausal = true
    case .causalTopLeft: (options.isCausal, options.alignment) = (true, .topLeft)
    case .window: options.window = Window(left: 7, right: 5)
    case .windowLeft: (options.isCausal, options.window) = (true, Window(left: 9, right: nil))
    case .windowRight:
      (options.alignment, options.window) = (.topLeft, Window(left: nil, right: 3))
    case .alibi: options.terms.alibi = .standard
    case .slopes: options.terms.alibi = .slopes([0.5, 0, 0.25, 1])
    case .softcap: options.terms.softcap = 2.5
    case .cosine: options.isCosine = true
    case .cosineGroups: (options.isCosine, options.groups) = (true, 4)
    case .cosinePlain: (options.isCosine, options.normalizes) = (true, false)
    default: break
    }
  }

  public func excludes(_ other: Self) -> Bool {
    // Padding is a key mask in which garbage has fixed positions.
    if self == .hiddenPadding, other == .keyMask { return true }
    // Packed sequences and cumulative decays require as many queries as keys.
    if [.packed, .logitDecay, .logitDecayCut].contains(self) {
      return other == .moreKeys || other == .moreQueries
    }
    // The unfused computation has bias and sums in the inputs' dtype, whose range or precision these exceed.
    if [.biasHuge, .sinksExtreme].contains(self) && other.group == "dtype" { return true }
    // The largest numbers are infinite in half precision, and bool has no size.
    if self == .biasHuge, other.group == "bias dtype" { return true }
    // Added to huge scores, small terms are lost in float32 but distinguish equal keys in float64; and gradients
    // that vanish consist of rounding only, that of the scale in units of the scores.
    return self == .scoresHuge && other != .biasBool
      && ["bias", "bias dtype", "alibi", "logit decay", "scale", "dtype"].contains(other.group)
  }
}
