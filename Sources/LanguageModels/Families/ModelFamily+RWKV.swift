import AttentionLayers

/// RWKV-6 and RWKV-7, with the names of flash-linear-attention: time mixing and channel mixing, each after a layer norm.
extension ModelFamily {
  static let rwkv: [ModelFamily] = [
    rwkv("rwkv6", ratio: 3.5) { configuration, _, _ in
      var options = RWKV6.Options(heads: try configuration.heads(default: 4))
      options.keyExpansion = try configuration.number("expand_k") ?? 0.5
      options.valueExpansion = try configuration.number("expand_v") ?? 1
      options.shiftRank = try configuration.integer("proj_low_rank_dim") ?? 32
      options.decayRank = try configuration.integer("gate_low_rank_dim") ?? 64
      options.normEpsilon = try configuration.rwkvEpsilon()
      return RWKV6Configuration(options)
    },
    rwkv("rwkv7", ratio: 4) { configuration, layer, layers in
      let hidden = try configuration.requiredInteger("hidden_size")
      let dimension = try configuration.integer("head_dim") ?? 64
      let heads = try configuration.integer("num_heads") ?? max(1, hidden / dimension)
      // The mixer's values are as wide as the hidden size.
      if let widths = try configuration.wholeNumbers("value_dim"),
        widths.contains(where: { $0 != hidden })
      {
        throw configuration.error("value_dim", mustBe: "hidden_size, \(hidden), in each layer")
      }
      var options = RWKV7.Options(heads: heads)
      (options.layer, options.layers) = (layer, layers)
      options.decayRank = try configuration.integer("decay_low_rank_dim") ?? 64
      options.rateRank = try configuration.integer("a_low_rank_dim") ?? 64
      options.valueRank = try configuration.integer("v_low_rank_dim") ?? 16
      options.gateRank = try configuration.integer("gate_low_rank_dim") ?? 128
      options.normEpsilon = try configuration.rwkvEpsilon()
      return RWKV7Configuration(options)
    },
  ]

  /// - Parameters:
  ///   - type: the `model_type`.
  ///   - ratio: the width of channel mixing as a multiple of the hidden size, where the file does not say.
  ///   - mixer: time mixing of a layer, given its index and the number of layers.
  private static func rwkv(
    _ type: String, ratio: Double,
    mixer: @escaping @Sendable (PublishedConfiguration, Int, Int) throws -> any MixerConfiguration
  ) -> ModelFamily {
    ModelFamily(type) { configuration in
      let hidden = try configuration.requiredInteger("hidden_size")
      let count = try configuration.layerCount()
      let norm = NormOptions(
        .layer, epsilon: try configuration.rwkvEpsilon(),
        hasBias: try configuration.bool("norm_bias") ?? true)
      try configuration.require("hidden_act", among: .string("sqrelu"))
      try configuration.require("attn", among: .null)
      configuration.passOver(
        "attn_mode", "fuse_norm", "fuse_cross_entropy", "fuse_linear_cross_entropy", "use_l2warp")
      let wide = try Double(hidden) * (configuration.number("hidden_ratio") ?? ratio)
      guard wide >= 1, wide <= Double(PublishedConfiguration.largestSize) else {
        throw configuration.error("hidden_ratio", mustBe: "a number above 0")
      }
      let multiple = 32
      var channels = ChannelMixing.Options(
        inner: try configuration.integer("intermediate_size")
          ?? (Int(wide) + multiple - 1) / multiple * multiple)
      channels.hasReceptance = type == "rwkv6"
      let channelMixing = PartDescription("ffn", .mixer(ChannelMixingConfiguration(channels)))
      let layers = try (0..<count).map { layer in
        LayerDescription([
          StepDescription(
            norm: Named("attn_norm", norm),
            [PartDescription("attn", .mixer(try mixer(configuration, layer, count)))]),
          StepDescription(norm: Named("ffn_norm", norm), [channelMixing]),
        ])
      }
      let isTied = try configuration.bool("tie_word_embeddings") ?? false
      var description = ModelDescription(
        vocabularySize: try configuration.requiredInteger("vocab_size"), hiddenSize: hidden,
        layers: layers, norm: Named("model.norm", norm), embedding: "model.embeddings",
        layerList: "model.layers", head: isTied ? nil : "lm_head")
      if try configuration.bool("norm_first") ?? true {
        description.embeddingNorm = Named("model.layers.0.pre_norm", norm)
      }
      return description
    }
  }
}

extension PublishedConfiguration {
  fileprivate func rwkvEpsilon() throws -> Double { try number("norm_eps") ?? 1e-5 }

  /// Whole numbers, of which a single one may stand by itself.
  fileprivate func wholeNumbers(_ key: String) throws -> [Int]? {
    if let one = try? integer(key) { return [one] }
    return try integers(key)
  }
}
