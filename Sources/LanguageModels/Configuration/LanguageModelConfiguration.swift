import AttentionLayers

/// The shape of a language model.
///
///     {
///       vocabulary_size: 256,       // 256: bytes
///       hidden_size: 128,
///       feed_forward_size: 352,     // 8/3 of the hidden size, rounded up to a multiple of 32
///       norm_epsilon: 1e-6,
///       tied_embeddings: true,      // the output projection is the embedding
///       layers: [{ type: "gated_linear", heads: 4 }, { type: "softmax", heads: 4 }],
///     }
///
/// `hidden_size` and `layers` are required. For the keys of layers see ``LayerConfiguration``, for repeating
/// patterns ``LayerSchedule``.
public struct LanguageModelConfiguration: Hashable, Sendable {
  /// The number of different tokens.
  public var vocabularySize = ByteTokenizer.vocabularySize
  /// The dimension of a token between the layers.
  public var hiddenSize: Int
  /// The inner dimension of the feed-forward layers.
  public var feedForwardSize: Int
  /// ε of the norms.
  public var normEpsilon = 1e-6
  /// Whether the output projection is the embedding.
  public var hasTiedEmbeddings = true
  public var layers: LayerSchedule

  /// The largest extent, and the largest number of layers, that a configuration may have.
  private static let largestSize = 1 << 20
  private static let mostLayers = 1 << 12

  public init(hiddenSize: Int, layers: LayerSchedule) {
    self.hiddenSize = hiddenSize
    self.layers = layers
    feedForwardSize = Self.defaultFeedForwardSize(hiddenSize: hiddenSize)
  }

  public init(hiddenSize: Int, layers: [LayerConfiguration]) {
    self.init(hiddenSize: hiddenSize, layers: LayerSchedule(layers))
  }

  /// 8/3 of the hidden size, rounded up to a multiple of 32: the three matrices then have as many
  /// elements as the two of a layer of four times the hidden size.
  public static func defaultFeedForwardSize(hiddenSize: Int) -> Int {
    let multiple = 32
    return (min(max(0, hiddenSize), largestSize) * 8 / 3 + multiple - 1) / multiple * multiple
  }

  /// Throws ``ConfigurationError/invalidValue(_:was:mustBe:)`` for the first invalid value. `path` is the
  /// path of this configuration in the file.
  public func validate(path: [any CodingKey] = []) throws {
    func fail(_ name: String, _ was: String, _ mustBe: String) -> ConfigurationError {
      .invalidValue((path + [AnyKey(name)]).dotted, was: was, mustBe: mustBe)
    }
    let sizes = [
      ("vocabulary_size", vocabularySize), ("hidden_size", hiddenSize),
      ("feed_forward_size", feedForwardSize),
    ]
    for (name, size) in sizes where size < 1 || size > Self.largestSize {
      throw fail(name, "\(size)", "in 1...\(Self.largestSize)")
    }
    guard normEpsilon > 0, normEpsilon.isFinite else {
      throw fail("norm_epsilon", "\(normEpsilon)", "a number above 0")
    }
    guard !layers.pattern.isEmpty else { throw fail("layers", "empty", "at least one layer") }
    guard layers.repeats >= 1, layers.repeats <= Self.mostLayers / layers.pattern.count else {
      throw fail(
        "layers.repeat", "\(layers.repeats)",
        "at least 1, with at most \(Self.mostLayers) layers in all")
    }
    let list = layers.repeats == 1 ? "layers" : "layers.pattern"
    for (index, layer) in layers.pattern.enumerated() {
      let place = "\(list).\(index)"
      do {
        try layer.validate(hidden: hiddenSize, path: path + [AnyKey(place)])
      } catch LayerError.invalidArgument(let name, let was, let mustBe) {
        throw fail("\(place).\(name.snakeCased)", was, mustBe)
      }
    }
  }
}

extension LanguageModelConfiguration {
  /// What a model of this configuration consists of.
  public var description: ModelDescription {
    let norm = NormOptions(epsilon: normEpsilon)
    return ModelDescription(
      vocabularySize: vocabularySize, hiddenSize: hiddenSize,
      layers: layers.layers.map { layer in
        LayerDescription([
          StepDescription(
            norm: Named("mixer_norm", norm), [PartDescription("mixer", .mixer(layer.mixer))]),
          StepDescription(
            norm: Named("feed_forward_norm", norm),
            [
              PartDescription(
                "feed_forward", .feedForward(FeedForward.Options(inner: feedForwardSize)))
            ]),
        ])
      },
      norm: Named("norm", norm), embedding: "embedding", layerList: "layers",
      head: hasTiedEmbeddings ? nil : "head")
  }
}

extension LanguageModelConfiguration: Codable {
  enum CodingKeys: String, CodingKey, CaseIterable {
    case vocabularySize = "vocabulary_size"
    case hiddenSize = "hidden_size"
    case feedForwardSize = "feed_forward_size"
    case normEpsilon = "norm_epsilon"
    case hasTiedEmbeddings = "tied_embeddings"
    case layers
  }

  public init(from decoder: any Decoder) throws {
    let values = try decoder.strictContainer(keyedBy: CodingKeys.self)
    let schedule: LayerSchedule = try values.value(.layers)
    self.init(hiddenSize: try values.value(.hiddenSize), layers: schedule)
    vocabularySize = try values.value(.vocabularySize, default: vocabularySize)
    feedForwardSize = try values.value(.feedForwardSize, default: feedForwardSize)
    normEpsilon = try values.value(.normEpsilon, default: normEpsilon)
    hasTiedEmbeddings = try values.value(.hasTiedEmbeddings, default: hasTiedEmbeddings)
    try validate(path: decoder.codingPath)
  }
}

extension String {
  /// `keyValueHeads` as `key_value_heads`.
  fileprivate var snakeCased: String {
    reduce(into: "") { result, letter in
      result += letter.isUppercase ? "_" + letter.lowercased() : String(letter)
    }
  }
}
