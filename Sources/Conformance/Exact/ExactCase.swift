import AttentionOperators
import AttentionTensors

/// A case of exact attention.
public struct ExactCase: FeaturedCase {
  public var batch: Int
  public var queryLength: Int
  public var keyLength: Int
  public var heads: Int
  public var keyValueHeads: Int
  public var keyDimension: Int
  public var valueDimension: Int
  public var dtype: DType
  public var features: [ExactFeature]

  public var sizes: String {
    "exact b=\(batch) t=\(queryLength) s=\(keyLength) h=\(heads)/\(keyValueHeads) "
      + "k=\(keyDimension) v=\(valueDimension)"
  }

  /// Whether garbage is placed where the mask hides it.
  var hidesGarbage: Bool { has(.hiddenPadding) || has(.edgeKey) || has(.edgeQuery) }

  /// What the features set in the operator's options.
  var options: ExactOptions {
    var options = ExactOptions()
    for feature in features { feature.set(&options) }
    if has(.scaleNumber) { options.scale = options.isCosine ? 5 : 0.3 }
    // Garbage at an edge of the mask requires the mask to have one.
    if has(.edgeKey) || has(.edgeQuery), options.window == nil, !has(.packed) {
      options.isCausal = true
    }
    return options
  }

  /// The dtype that the bias is converted to; nil if it is not converted.
  var biasDType: DType? {
    has(.biasBFloat16) ? .bfloat16 : has(.biasFloat16) ? .float16 : has(.biasBool) ? .bool : nil
  }

  public func makeProblem(seed: UInt64) throws -> any ConformanceProblem {
    try ExactConformanceProblem(self, Draw(seed: seed, label: name))
  }
}

extension ExactCase {
  /// Every feature alone and in pairs, over ragged lengths and dimensions in rotation, and each alone with the
  /// few queries and many keys of decoding; and a few long ones.
  ///
  /// - Parameter isQuick: whether lengths are short, so that a debug build takes seconds.
  public static func all(isQuick: Bool) -> [ExactCase] {
    let lengths = isQuick ? [9, 0, 33, 1, 17, 2] : [65, 127, 1, 64, 200, 0, 63, 2]
    let dimensions = isQuick ? [8, 16, 12] : [32, 64, 20, 16, 128, 48]
    let cases = ExactFeature.aloneAndInPairs.enumerated().map { index, features in
      make(
        features, length: lengths[index % lengths.count],
        dimension: dimensions[index % dimensions.count])
    }
    return cases + decoding(keyLength: isQuick ? 40 : 301, dimensions) + unusual + unseen
      + (isQuick ? [] : long)
  }

  /// Dimensions of 0, for which all scores or outputs are empty sums, and dimensions larger than GPU kernels
  /// support.
  private static let unusual: [ExactCase] = [(0, 24), (24, 0), (0, 0), (328, 272)].flatMap {
    (keys: Int, values: Int) in
    [[], [.causal], [.cosine], [.moreKeys, .bfloat16], [.sinks, .float16]].flatMap {
      (features: [ExactFeature]) in
      [1, 33].map { length in
        var result = make(features, length: length, dimension: keys)
        result.valueDimension = values
        return result
      }
    }
  }

  /// Queries that attend to no key, because of a mask or because there is none: their log-sum-exp is the sink, if
  /// there is one, and its gradient goes there.
  private static let unseen: [ExactCase] = [
    ([.keyMask], 33), ([.keyMask, .causal], 9), ([.causal, .moreQueries], 17), ([.moreQueries], 0),
    ([.windowLeft, .moreQueries, .groupedQuery], 9), ([.packed, .window], 33),
  ].flatMap { (masks: [ExactFeature], length: Int) in
    [ExactFeature.sinks, .sinksExtreme].map {
      make(masks + [$0, .logSumExpGradient], length: length, dimension: 16)
    } + [make(masks + [.sinks, .logSumExpGradient, .bfloat16], length: length, dimension: 32)]
  }

  /// Dimensions of whole blocks, which have specialised kernels, in half precision and in long float32 sequences:
  /// what these kernels do in their main loops alone and, in half precision, in pairs.
  static func blocks(isQuick: Bool) -> [ExactCase] {
    let half = ExactFeature.aloneAndInPairs.filter { (features: [ExactFeature]) in
      features.allSatisfy(ofBlocks.contains) && features.count <= (isQuick ? 1 : 2)
    }
    let single: [[ExactFeature]] = [
      [], [.causal], [.packed, .groupedQuery], [.window], [.sharp, .moreQueries],
      [.causal, .moreKeys], [.scaleHeads, .groupedQuery], [.keyMask], [.cosine], [.alibi, .causal],
      [.softcap], [.logitDecay], [.logitDecayCut, .keyMask], [.cosine, .packed, .groupedQuery],
      [.scoresHuge],
    ]
    func cases(_ all: [[ExactFeature]], length: Int) -> [ExactCase] {
      all.enumerated().map { index, features in
        make(features, length: length, dimension: index % 2 == 0 ? 64 : 128)
      }
    }
    let short = half.enumerated().map { index, features in
      make(
        features + [index / 2 % 2 == 0 ? .bfloat16 : .float16], length: isQuick ? 70 : 270,
        dimension: index % 2 == 0 ? 64 : 128)
    }
    let long = cases(single, length: 270).map { (long: ExactCase) in
      var result = long
      // One of the packed sequences must still be long.
      if long.has(.packed) { (result.queryLength, result.keyLength) = (930, 930) }
      if long.has(.window) { result.valueDimension = 64 }
      (result.batch, result.heads) = (1, long.has(.groupedQuery) ? 4 : 2)
      if !long.has(.groupedQuery) { result.keyValueHeads = 2 }
      return result
    }
    return short
      + (isQuick ? long.filter { [[], [.causal], [.cosine]].contains($0.features) } : long)
  }

  private static let ofBlocks: Set<ExactFeature> = [
    .causal, .window, .keyMask, .hiddenPadding, .edgeKey, .packed, .biasFull, .biasBatch,
    .biasInfinite,
    .biasMatrix, .biasBFloat16, .biasBool, .alibi, .softcap, .logitDecay, .logitDecayCut, .sinks,
    .groupedQuery,
    .scaleHeads, .cosine, .sharp, .scoresHuge, .moreKeys, .moreQueries, .logSumExpGradient,
  ]

  /// Lengths at which kernels use methods that do not pay off for short sequences.
  private static var long: [ExactCase] {
    [[], [.causal], [.keyMask], [.sharp], [.groupedQuery], [.bfloat16], [.float16]].map {
      (features: [ExactFeature]) in
      var result = make(features, length: 530, dimension: 32)
      (result.batch, result.heads) = (1, 2)
      result.keyValueHeads = features == [.groupedQuery] ? 1 : 2
      return result
    }
  }

  private static func decoding(keyLength: Int, _ dimensions: [Int]) -> [ExactCase] {
    let features = ExactFeature.allCases.filter {
      !$0.excludes(.moreKeys) && $0.group != ExactFeature.moreKeys.group
    }
    return features.enumerated().map { index, feature in
      var result = make(
        [feature], length: keyLength, dimension: dimensions[index % dimensions.count])
      result.queryLength = index % 2 == 0 ? 1 : 3
      return result
    }
  }

  private static func make(_ features: [ExactFeature], length: Int, dimension: Int) -> ExactCase {
    var result = ExactCase(
      batch: features.contains(.packed) ? 1 : 2, queryLength: length, keyLength: length, heads: 4,
      keyValueHeads: 4, keyDimension: dimension, valueDimension: dimension, dtype: .float32,
      features: features)
    for feature in features {
      switch feature {
      case .groupedQuery: result.keyValueHeads = 2
      case .multiQuery: result.keyValueHeads = 1
      case .valueDimension: result.valueDimension = dimension + 5
      case .moreKeys: result.keyLength = 2 * length + 3
      case .moreQueries: result.queryLength = length + 41
      case .bfloat16: result.dtype = .bfloat16
      case .float16: result.dtype = .float16
      default: break
      }
    }
    return result
  }
}
