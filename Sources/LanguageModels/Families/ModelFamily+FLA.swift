import AttentionLayers

/// Models of flash-linear-attention: one mixer in every layer, or attention in some of them, and a gated
/// feed-forward layer, each after a norm.
extension ModelFamily {
  static let flashLinearAttention: [ModelFamily] = [
    fla("hgrn") { configuration, layer in
      var options = HGRN.Options()
      options.expansion = try configuration.number("expand_ratio") ?? 1
      options.convolution = try configuration.shortConvolution(default: false)
      options.boundLayer = try configuration.boundLayer(layer)
      options.normEpsilon = try configuration.normEpsilon()
      return HGRNConfiguration(options)
    },
    fla("hgrn2") { configuration, layer in
      let hidden = try configuration.requiredInteger("hidden_size")
      let dimension = try configuration.integer("expand_ratio")
      let heads = try dimension.map { max(1, hidden / $0) } ?? configuration.heads(default: 1)
      configuration.passOver("num_heads")
      var options = HGRN2.Options(heads: heads)
      options.keyDimension = dimension ?? hidden / heads
      options.convolution = try configuration.shortConvolution(default: false)
      options.boundLayer = try configuration.boundLayer(layer)
      options.normEpsilon = functionEpsilon
      return HGRN2Configuration(options)
    },
    fla("gla") { configuration in
      var options = GatedLinearAttention.Options(heads: try configuration.heads(default: 4))
      options.keyValueHeads = try configuration.integer("num_kv_heads")
      options.keyExpansion = try configuration.number("expand_k") ?? 0.5
      options.valueExpansion = try configuration.number("expand_v") ?? 1
      options.convolution = try configuration.shortConvolution(default: false)
      options.featureMap = try configuration.featureMap("feature_map") ?? .identity
      options.smallestDecay = try configuration.number("clamp_min")
      options.gate = try configuration.bool("use_output_gate") ?? true ? .swish : nil
      options.normEpsilon = try configuration.normEpsilon()
      try configuration.require("use_gk", among: .bool(true))
      try configuration.require("use_gv", among: .bool(false))
      try configuration.require("elementwise_affine", among: .bool(true))
      return GatedLinearConfiguration(options)
    },
    fla("retnet", ratio: 2) { configuration in
      var options = Retention.Options(heads: try configuration.heads(default: 8))
      options.keyValueHeads = try configuration.integer("num_kv_heads")
      options.keyExpansion = try configuration.number("expand_k") ?? 1
      options.valueExpansion = try configuration.number("expand_v") ?? 2
      options.convolution = try configuration.shortConvolution(default: false)
      options.featureMap = try configuration.featureMap("feature_map") ?? .identity
      options.gate = try configuration.bool("use_output_gate") ?? true ? .swish : nil
      options.normEpsilon = try configuration.normEpsilon()
      try configuration.require("elementwise_affine", among: .bool(true))
      return RetentionConfiguration(options)
    },
    fla("delta_net") { configuration in
      var options = DeltaNet.Options(heads: try configuration.heads(default: 16))
      options.keyExpansion = try configuration.number("expand_k") ?? 1
      options.valueExpansion = try configuration.number("expand_v") ?? 1
      options.convolution = try configuration.shortConvolution(default: true)
      options.featureMap = try configuration.featureMap("qk_activation") ?? .swish
      switch try configuration.string("qk_norm") {
      case nil, "l2": options.norm = .l2
      case "sum": options.norm = .sum
      default: throw configuration.error("qk_norm", mustBe: "l2 or sum")
      }
      options.hasBeta = try configuration.bool("use_beta") ?? true
      options.allowsNegativeEigenvalues = try configuration.bool("allow_neg_eigval") ?? false
      options.hasGate = try configuration.bool("use_gate") ?? false
      options.normEpsilon = try configuration.normEpsilon()
      try configuration.require("use_output_norm", among: .bool(true))
      return DeltaNetConfiguration(options)
    },
    fla("gated_deltanet") { configuration in
      var options = GatedDeltaNet.Options(heads: try configuration.heads(default: 6))
      options.valueHeads = try configuration.integer("num_v_heads")
      let dimension = try configuration.integer("head_dim") ?? 256
      options.keyDimension = dimension
      options.valueDimension = try configuration.width(dimension, times: "expand_v", default: 2)
      options.convolution = try configuration.shortConvolution(default: true)
      options.gate = try configuration.outputGate()
      options.allowsNegativeEigenvalues = try configuration.bool("allow_neg_eigval") ?? false
      options.normEpsilon = try configuration.normEpsilon()
      return GatedDeltaNetConfiguration(options)
    },
    fla("gated_deltaproduct") { configuration in
      var options = GatedDeltaProduct.Options(heads: try configuration.heads(default: 6))
      options.valueHeads = try configuration.integer("num_v_heads")
      let dimension = try configuration.integer("head_dim") ?? 256
      options.keyDimension = dimension
      options.valueDimension = try configuration.width(dimension, times: "expand_v", default: 2)
      options.convolution = try configuration.shortConvolution(default: true)
      options.updates = try configuration.integer("num_householder") ?? 1
      options.hasDecay = try configuration.bool("use_forget_gate") ?? false
      options.hasGate = try configuration.bool("use_output_gate") ?? true
      options.allowsNegativeEigenvalues = try configuration.bool("allow_neg_eigval") ?? false
      options.normEpsilon = try configuration.normEpsilon()
      return GatedDeltaProductConfiguration(options)
    },
    fla("comba") { configuration in
      var options = Comba.Options(heads: try configuration.heads(default: 6))
      options.valueHeads = try configuration.integer("num_v_heads")
      let dimension = try configuration.integer("head_dim") ?? 256
      options.keyDimension = dimension
      options.valueDimension = try configuration.width(dimension, times: "expand_v", default: 2)
      options.convolution = try configuration.shortConvolution(default: true)
      options.hasGate = try configuration.bool("use_output_gate") ?? true
      options.hasInnerDecay = try configuration.bool("use_inner_decay") ?? true
      let correction = try configuration.number("correction_factor") ?? 1
      options.correction =
        try configuration.bool("use_output_correction") ?? true ? correction : nil
      options.normEpsilon = try configuration.normEpsilon()
      return CombaConfiguration(options)
    },
    fla("kda") { configuration in
      var options = KimiDeltaAttention.Options(heads: try configuration.heads(default: 16))
      options.valueHeads = try configuration.integer("num_v_heads")
      let dimension = try configuration.integer("head_dim") ?? 128
      options.keyDimension = dimension
      options.valueDimension = try configuration.width(dimension, times: "expand_v", default: 1)
      options.convolution = try configuration.shortConvolution(default: true)
      options.allowsNegativeEigenvalues = try configuration.bool("allow_neg_eigval") ?? false
      let bound = try configuration.number("lower_bound")
      options.smallestDecay = try configuration.bool("safe_gate") ?? false ? bound : nil
      options.normEpsilon = try configuration.normEpsilon()
      return KimiDeltaConfiguration(options)
    },
    fla("forgetting_transformer") { configuration in
      var options = ForgettingAttention.Options(heads: try configuration.heads(default: 32))
      options.keyValueHeads = try configuration.integer("num_kv_heads")
      options.hasBias = try configuration.bool("qkv_bias") ?? false
      options.normalizesQueriesAndKeys = try configuration.bool("qk_norm") ?? false
      options.window = try configuration.integer("window_size", in: 1...(1 << 31))
      options.hasGate = try configuration.bool("use_output_gate") ?? false
      options.normEpsilon = try configuration.normEpsilon()
      return ForgettingConfiguration(options)
    },
    fla("gsa") { configuration in
      var options = SlotAttention.Options(heads: try configuration.heads(default: 4))
      options.keyValueHeads = try configuration.integer("num_kv_heads")
      options.keyExpansion = try configuration.number("exapnd_k") ?? 1
      options.valueExpansion = try configuration.number("exapnd_v") ?? 1
      options.slots = try configuration.integer("num_slots") ?? 64
      options.convolution = try configuration.shortConvolution(default: false)
      options.featureMap = try configuration.featureMap("feature_map") ?? .swish
      options.decayDivisor = try configuration.number("gate_logit_normalizer") ?? 8
      options.normEpsilon = functionEpsilon
      try configuration.require("use_output_gate", among: .bool(false))
      try configuration.require("use_norm", among: .bool(true))
      try configuration.require("clamp_min", among: .null)
      try configuration.require("clamp_max", among: .null)
      return SlotAttentionConfiguration(options)
    },
  ]

  /// ε of a norm that the original computes together with the projection after it: the default of that function,
  /// whatever the file says.
  private static let functionEpsilon = 1e-5

  /// A family of one mixer, whatever the layer.
  private static func fla(
    _ type: String, ratio: Int = 4,
    mixer: @escaping @Sendable (PublishedConfiguration) throws -> any MixerConfiguration
  ) -> ModelFamily {
    fla(type, ratio: ratio) { configuration, _ in try mixer(configuration) }
  }

  /// A family of one mixer.
  ///
  /// - Parameters:
  ///   - ratio: the width of the feed-forward layers' parameters where the file does not say.
  ///   - mixer: the mixer of a configuration's layer of an index.
  private static func fla(
    _ type: String, ratio: Int = 4,
    mixer: @escaping @Sendable (PublishedConfiguration, Int) throws -> any MixerConfiguration
  ) -> ModelFamily {
    ModelFamily(type) { configuration in
      let hidden = try configuration.requiredInteger("hidden_size")
      let norm = NormOptions(epsilon: try configuration.normEpsilon())
      let attention = try configuration.hybridAttention()
      try configuration.require("hidden_act", among: .string("swish"))
      try configuration.require("attnres_block_size", among: .null)
      configuration.passOver(
        "attn_mode", "fuse_norm", "fuse_swiglu", "fuse_cross_entropy", "fuse_linear_cross_entropy",
        "use_l2warp", "elementwise_affine")
      let ratio = try configuration.integer("hidden_ratio") ?? ratio
      let multiple = 256
      let inner =
        try configuration.integer("intermediate_size")
        ?? (hidden * ratio * 2 / 3 + multiple - 1) / multiple * multiple
      let feedForward = PartDescription("mlp", .feedForward(FeedForward.Options(inner: inner)))
      let layers = try (0..<(try configuration.layerCount())).map { layer in
        let part =
          try attention.flatMap { $0.layers.contains(layer) ? $0.part : nil }
          ?? PartDescription("attn", .mixer(mixer(configuration, layer)))
        return LayerDescription([
          StepDescription(norm: Named("attn_norm", norm), [part]),
          StepDescription(norm: Named("mlp_norm", norm), [feedForward]),
        ])
      }
      let isTied = try configuration.bool("tie_word_embeddings") ?? false
      var description = ModelDescription(
        vocabularySize: try configuration.requiredInteger("vocab_size"), hiddenSize: hidden,
        layers: layers, norm: Named("model.norm", norm), embedding: "model.embeddings",
        layerList: "model.layers", head: isTied ? nil : "lm_head")
      if type.hasPrefix("hgrn"), try configuration.hasLayerBounds() {
        let width =
          try type == "hgrn"
          ? configuration.width(hidden, times: "expand_ratio", default: 1) : hidden
        description.layerBounds = Named("model.lower_bounds", width)
      }
      return description
    }
  }
}

/// The layers that attend in place of a recurrence, and their attention.
private struct HybridAttention {
  let layers: [Int]
  let part: PartDescription
}

extension PublishedConfiguration {
  func heads(default otherwise: Int) throws -> Int {
    try integer("num_heads") ?? otherwise
  }

  /// Whether the layers' forget gates have learned bounds.
  fileprivate func hasLayerBounds() throws -> Bool { try bool("use_lower_bound") ?? true }

  /// The layer whose learned bounds a layer has; nil for the first, whose are 0, or without any.
  fileprivate func boundLayer(_ layer: Int) throws -> Int? {
    try hasLayerBounds() && layer > 0 ? layer : nil
  }

  fileprivate func normEpsilon() throws -> Double { try number("norm_eps") ?? 1e-6 }

  /// A dimension times a real number, which must be whole.
  fileprivate func width(_ dimension: Int, times key: String, default ratio: Double) throws -> Int {
    let ratio = try number(key) ?? ratio
    guard let width = Int(exactly: (Double(dimension) * ratio).rounded()), width > 0,
      abs(Double(width) - Double(dimension) * ratio) < 1e-6
    else {
      throw error(key, mustBe: "such that times head_dim, \(dimension), it is a whole number")
    }
    return width
  }

  fileprivate func shortConvolution(default isUsed: Bool) throws -> ConvolutionOptions {
    let width = try integer("conv_size") ?? 4
    return ConvolutionOptions(width: try bool("use_short_conv") ?? isUsed ? width : nil)
  }

  /// The gate of Gated DeltaNet.
  fileprivate func outputGate() throws -> OutputGate? {
    let gates: [String: OutputGate] = ["swish": .swish, "silu": .swish, "sigmoid": .sigmoid]
    let key = "output_gate_activation"
    guard let gate = gates[try string(key) ?? "swish"] else {
      throw error(key, mustBe: "swish or sigmoid")
    }
    return try bool("use_gate") ?? true ? gate : nil
  }

  /// A feature map by its name.
  fileprivate func featureMap(_ key: String) throws -> FeatureMap? {
    switch try string(key) {
    case nil: return nil
    case "silu", "swish": return .swish
    case "relu": return .relu
    case "elu": return .elu
    case "identity": return .identity
    default: throw error(key, mustBe: "silu, swish, relu, elu or identity")
    }
  }

  /// The attention of `attn`; nil if no layer attends.
  fileprivate func hybridAttention() throws -> HybridAttention? {
    guard let attention = try object("attn") else { return nil }
    guard let layers = try attention.integers("layers") else {
      throw attention.error("layers", mustBe: "an array of whole numbers")
    }
    var options = ExactAttentionOptions(
      heads: try attention.requiredInteger("num_heads"),
      keyValueHeads: try attention.integer("num_kv_heads"),
      window: try attention.integer("window_size", in: 1...(1 << 31)))
    options.hasBias = try attention.bool("qkv_bias") ?? false
    options.rotaryTheta = try attention.number("rope_theta") ?? 10_000
    return HybridAttention(
      layers: layers, part: PartDescription("attn", .mixer(SoftmaxConfiguration(options))))
  }
}
