import AttentionLayers

/// What the decoders in the manner of Llama share: their extents, names, norms and attention.
struct DecoderFamily {
  /// Where the norms of a step stand.
  enum Norms {
    /// Before it: `input_layernorm`, `post_attention_layernorm`.
    case before
    /// After it: `post_attention_layernorm`, `post_feedforward_layernorm`.
    case after
    /// Before and after it.
    case around
  }

  /// Changes the options of an attention layer, whose norms have these options.
  typealias Change = (inout ExactAttentionOptions, NormOptions) throws -> Void

  let configuration: PublishedConfiguration
  let hidden: Int
  let layers: Int
  let norm: NormOptions
  var norms = Norms.before
  /// The names of the parts of a layer, and of the norms before them.
  var attention = "self_attn"
  var feedForward = "mlp"
  var normNames = ["input_layernorm", "post_attention_layernorm"]
  /// The name of the norm after the last layer.
  var lastNorm = "model.norm"
  /// The factor of what each step adds.
  var stepScale = 1.0
  /// Whether the output projection is the embedding where the file does not say.
  var tiesByDefault = false
  private let theta: Double
  private let change: Change
  /// For each layer its kind, `full_attention` or `sliding_attention`.
  var kinds: [String]

  /// - Parameters:
  ///   - theta: the base of the rotary frequencies where the file does not say.
  ///   - normOffset: added to the weights of norms.
  ///   - change: what the family's attention has beyond Llama's.
  init(
    _ configuration: PublishedConfiguration, theta: Double = 10_000, normOffset: Double = 0,
    change: @escaping Change = { _, _ in }
  ) throws {
    self.configuration = configuration
    hidden = try configuration.requiredInteger("hidden_size")
    layers = try configuration.layerCount()
    norm = NormOptions(
      epsilon: try configuration.number("rms_norm_eps") ?? 1e-6, weightOffset: normOffset)
    self.theta = theta
    self.change = change
    kinds = try Self.kinds(configuration, layers)
  }

  /// The kind of each layer: `layer_types`, or what earlier files say of the window.
  private static func kinds(_ configuration: PublishedConfiguration, _ layers: Int) throws
    -> [String]
  {
    let known = ["full_attention", "sliding_attention"]
    if let kinds = try configuration.layerKinds(count: layers) {
      configuration.passOver("sliding_window_pattern", "_sliding_window_pattern")
      return kinds
    }
    guard try configuration.integer("sliding_window") != nil,
      try configuration.bool("use_sliding_window") ?? true
    else { return Array(repeating: known[0], count: layers) }
    // Every layer of the pattern's length attends to everything; without a pattern none does.
    let pattern =
      try configuration.integer("sliding_window_pattern")
      ?? configuration.integer("_sliding_window_pattern")
    let first = try configuration.integer("max_window_layers", in: 0...(1 << 20)) ?? 0
    return (0..<layers).map { layer in
      let isFull = layer < first || pattern.map { (layer + 1) % $0 == 0 } ?? false
      return known[isFull ? 0 : 1]
    }
  }

  /// The options of the attention of layers of a kind.
  func attentionOptions(_ kind: String) throws -> ExactAttentionOptions {
    let heads = try configuration.requiredInteger("num_attention_heads")
    var options = ExactAttentionOptions(
      heads: heads, keyValueHeads: try configuration.integer("num_key_value_heads"),
      headDimension: try configuration.integer("head_dim"))
    if kind == "sliding_attention" {
      options.window = try configuration.requiredInteger("sliding_window", in: 1...(1 << 31))
    }
    try configuration.readRotary(
      into: &options, kind: kind, theta: theta,
      headDimension: options.headDimension ?? hidden / heads)
    try change(&options, norm)
    return options
  }

  /// The model, with these feed-forward layers, whose mixers are of the kinds of the file.
  ///
  /// - Parameters:
  ///   - recurrence: the mixer of layers of `linear_attention`; nil if the family has none.
  ///   - feedForward: that of a layer.
  func description(
    recurrence: PartDescription? = nil, feedForward: (Int) throws -> PartDescription.Kind
  ) throws -> ModelDescription {
    try description(recurrence: recurrence) {
      [PartDescription(self.feedForward, try feedForward($0))]
    }
  }

  /// The same with several parts beside each other in place of a feed-forward layer.
  func description(
    recurrence: PartDescription?, parts: (Int) throws -> [PartDescription]
  ) throws -> ModelDescription {
    try description { index, kind in
      LayerDescription([
        step(0, [try mixer(kind, recurrence)]), step(1, try parts(index)),
      ])
    }
  }

  /// The mixer of a layer of a kind.
  func mixer(_ kind: String, _ recurrence: PartDescription? = nil) throws -> PartDescription {
    switch kind {
    case "full_attention", "sliding_attention":
      return PartDescription(
        attention, .mixer(SoftmaxConfiguration(try attentionOptions(kind))))
    case "linear_attention":
      if let recurrence { return recurrence }
    default: break
    }
    throw ConfigurationError.invalidValue(
      "layer_types", was: "with \"\(kind)\"", mustBe: "of kinds that the family has")
  }

  /// The model of these layers, given their index and kind.
  func description(layer: (Int, String) throws -> LayerDescription) throws -> ModelDescription {
    let layers = try kinds.enumerated().map { try layer($0, $1) }
    let isTied = try configuration.bool("tie_word_embeddings") ?? tiesByDefault
    return ModelDescription(
      vocabularySize: try configuration.requiredInteger("vocab_size"), hiddenSize: hidden,
      layers: layers, norm: Named(lastNorm, norm), embedding: "model.embed_tokens",
      layerList: "model.layers", head: isTied ? nil : "lm_head")
  }

  /// A step of a layer: 0 is attention, 1 the feed-forward layer.
  func step(_ index: Int, _ parts: [PartDescription]) -> StepDescription {
    let before = normNames
    let after = ["post_attention_layernorm", "post_feedforward_layernorm"]
    let around = ["input_layernorm", "pre_feedforward_layernorm"]
    func named(_ names: [String]) -> Named<NormOptions> { Named(names[index], norm) }
    var step: StepDescription
    switch norms {
    case .before: step = StepDescription(norm: named(before), parts)
    case .after: step = StepDescription(norm: nil, parts)
    case .around: step = StepDescription(norm: named(around), parts)
    }
    if norms != .before { step.postNorm = named(after) }
    step.scale = stepScale
    return step
  }
}
