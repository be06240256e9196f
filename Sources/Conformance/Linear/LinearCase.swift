import AttentionOperators
import AttentionTensors

/// A case of linear attention.
public struct LinearCase: FeaturedCase {
  public var batch: Int
  public var length: Int
  public var heads: Int
  public var valueHeads: Int
  public var keyDimension: Int
  public var valueDimension: Int
  public var dtype: DType
  public var features: [LinearFeature]

  public var sizes: String {
    "linear b=\(batch) t=\(length) h=\(heads)/\(valueHeads) k=\(keyDimension) "
      + "v=\(valueDimension)"
  }

  public func makeProblem(seed: UInt64) throws -> any ConformanceProblem {
    try LinearConformanceProblem(self, Draw(seed: seed, label: name))
  }
}

extension LinearCase {
  /// Every feature alone and in pairs, and some triples with each decay, over ragged lengths and dimensions in
  /// rotation.
  ///
  /// - Parameter isQuick: whether lengths are short, so that a debug build takes seconds.
  public static func all(isQuick: Bool) -> [LinearCase] {
    let lengths = isQuick ? [9, 0, 65, 1, 33, 2] : [65, 127, 1, 64, 200, 0, 63, 2, 130]
    let dimensions = isQuick ? [8, 16, 12] : [32, 64, 20, 16, 128]
    let combinations = LinearFeature.aloneAndInPairs + LinearFeature.triples
    return combinations.enumerated().map { index, features in
      make(
        features, length: lengths[index % lengths.count],
        dimension: dimensions[index % dimensions.count])
    } + wide(isQuick: isQuick) + long
  }

  /// Problems for tensor-core kernels: bfloat16 with blocks of 64 channels, over several chunks.
  private static func wide(isQuick: Bool) -> [LinearCase] {
    let lengths = isQuick ? [65, 9, 130] : [65, 200, 64, 1, 300]
    let sizes =
      isQuick ? [(64, 64), (64, 128), (128, 64)] : [(64, 64), (128, 128), (64, 192), (128, 64)]
    let updates: [[LinearFeature]] = [[], [.delta], [.lowRank]]
    let decays: [[LinearFeature]] = [
      [], [.decayHeads], [.decayTokens], [.decayTokens, .strong], [.decayChannels],
      [.decayChannels, .strong],
    ]
    let others: [[LinearFeature]] = [
      [], [.normalized], [.packed, .initialState], [.groupedValue, .scaleNumber],
      [.strided, .initialState, .finalStateGradient],
      [.packed, .initialState, .finalStateGradient, .groupedValue, .normalized, .strided],
    ]
    var cases: [LinearCase] = []
    for update in updates {
      for decay in decays where update != [.lowRank] || decay.first == .decayChannels {
        for other in others {
          let (k, v) = sizes[cases.count % sizes.count]
          let features = update + decay + other + [.bfloat16]
          var wide = make(features, length: lengths[cases.count % lengths.count], dimension: k)
          wide.valueDimension = v
          cases.append(wide)
        }
      }
    }
    return cases
  }

  /// Sequences long enough to be split into pieces.
  private static let long: [LinearCase] = {
    let length = 1100
    let dimension = 8
    let features: [[LinearFeature]] = [
      [.oneHead], [.oneHead, .decayHeads], [.packed, .decayTokens, .initialState],
      [.oneHead, .decayChannels, .strong, .finalStateGradient],
    ]
    let wide: [[LinearFeature]] = [
      [.oneHead, .bfloat16], [.decayTokens, .initialState, .groupedValue, .bfloat16],
      [.oneHead, .delta, .decayTokens, .initialState, .bfloat16],
      [.packed, .delta, .normalized, .decayHeads, .initialState, .finalStateGradient, .bfloat16],
    ]
    return features.map { make($0, length: length, dimension: dimension) }
      + wide.map { make($0, length: length, dimension: 64) }
  }()

  private static func make(_ features: [LinearFeature], length: Int, dimension: Int) -> LinearCase {
    var result = LinearCase(
      batch: features.contains(.packed) ? 1 : 2, length: length, heads: 2, valueHeads: 2,
      keyDimension: dimension, valueDimension: dimension, dtype: .float32, features: features)
    for feature in features {
      switch feature {
      case .groupedValue: result.valueHeads = 6
      case .oneHead: (result.heads, result.valueHeads) = (1, 1)
      case .valueDimension: result.valueDimension = dimension + 5
      case .bfloat16: result.dtype = .bfloat16
      case .float16: result.dtype = .float16
      default: break
      }
    }
    return result
  }
}

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
