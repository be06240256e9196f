import AttentionLayers

/// The families of decoders in the manner of Llama: attention and a feed-forward layer, each after a norm.
extension ModelFamily {
  /// Llama, and the models that only set its options differently.
  static let llama = ModelFamily("llama", "mistral", "ministral", "arcee", "smollm3", "seed_oss") {
    configuration in
    let bias = try configuration.bool("attention_bias") ?? false
    let activation = try configuration.activation("hidden_act")
    let hasBias = try configuration.bool("mlp_bias") ?? false
    return try DecoderFamily(configuration) { options, _ in
      options.hasBias = bias
      options.hasOutputBias = bias
    }.description { _ in
      .feedForward(
        try configuration.feedForward(activation: activation, hasBias: hasBias))
    }
  }

  static let qwen2 = ModelFamily("qwen2") { configuration in
    let activation = try configuration.activation("hidden_act")
    return try DecoderFamily(configuration) { options, _ in options.hasBias = true }
      .description { _ in .feedForward(try configuration.feedForward(activation: activation)) }
  }

  static let qwen3 = ModelFamily("qwen3", "qwen3_moe") { configuration in
    let activation = try configuration.activation("hidden_act")
    let bias = try configuration.bool("attention_bias") ?? false
    let decoder = try DecoderFamily(configuration) { options, norm in
      options.hasBias = bias
      options.hasOutputBias = bias
      options.queryKeyNorm = ExactAttentionOptions.QueryKeyNorm(norm)
    }
    return try decoder.description(
      feedForward: configuration.sparseFeedForward(activation: activation))
  }

  static let mixtral = ModelFamily("mixtral") { configuration in
    var expert = try configuration.feedForward(activation: configuration.activation("hidden_act"))
    expert.names = FeedForward.Names(gate: "w1", up: "w3", down: "w2")
    var experts = MixtureOfExperts.Options(
      experts: try configuration.requiredInteger("num_local_experts"),
      chosen: try configuration.integer("num_experts_per_tok") ?? 2, expert: expert)
    experts.routing = .softmaxOfChosen
    let all = experts
    var decoder = try DecoderFamily(configuration)
    decoder.feedForward = "block_sparse_moe"
    return try decoder.description { _ in .experts(all) }
  }

  /// Norms after the mixers, over all heads of queries and keys together.
  static let olmo2 = ModelFamily("olmo2") { configuration in
    let activation = try configuration.activation("hidden_act")
    let bias = try configuration.bool("attention_bias") ?? false
    var decoder = try DecoderFamily(configuration) { options, norm in
      options.hasBias = bias
      options.hasOutputBias = bias
      options.queryKeyNorm = ExactAttentionOptions.QueryKeyNorm(norm, isOverAllHeads: true)
    }
    decoder.norms = .after
    return try decoder.description { _ in
      .feedForward(try configuration.feedForward(activation: activation))
    }
  }

  /// Experts with clamped activations, and sinks in the softmax.
  static let gptOSS = ModelFamily("gpt_oss") { configuration in
    var experts = MixtureOfExperts.Options(
      experts: try configuration.requiredInteger("num_local_experts"),
      chosen: try configuration.integer("num_experts_per_tok")
        ?? configuration.requiredInteger("experts_per_token"),
      expert: FeedForward.Options(inner: try configuration.requiredInteger("intermediate_size")))
    experts.routing = .softmaxOfChosen
    experts.router = "router"
    experts.hasRouterBias = true
    experts.layout = .clamped(
      MixtureOfExperts.Clamp(
        limit: try configuration.number("swiglu_limit") ?? 7,
        slope: try configuration.number("swiglu_alpha") ?? 1.702))
    try configuration.require("hidden_act", among: .string("silu"))
    let all = experts
    let bias = try configuration.bool("attention_bias") ?? true
    return try DecoderFamily(configuration, theta: 150_000) { options, _ in
      options.hasBias = bias
      options.hasOutputBias = bias
      options.hasSinks = true
    }.description { _ in .experts(all) }
  }

  static let phi3 = ModelFamily("phi3") { configuration in
    var feedForward = try configuration.feedForward(
      activation: configuration.activation("hidden_act"))
    feedForward.names.fused = "gate_up_proj"
    let options = feedForward
    return try DecoderFamily(configuration) { options, _ in options.isFused = true }
      .description { _ in .feedForward(options) }
  }

  static let granite = ModelFamily("granite") { configuration in
    let activation = try configuration.activation("hidden_act")
    let bias = try configuration.bool("attention_bias") ?? false
    let hasBias = try configuration.bool("mlp_bias") ?? false
    let scale = try configuration.number("attention_multiplier") ?? 1
    var decoder = try DecoderFamily(configuration) { options, _ in
      options.hasBias = bias
      options.hasOutputBias = bias
      options.scale = scale
    }
    decoder.stepScale = try configuration.number("residual_multiplier") ?? 1
    var description = try decoder.description { _ in
      .feedForward(try configuration.feedForward(activation: activation, hasBias: hasBias))
    }
    description.embeddingScale = try configuration.number("embedding_multiplier") ?? 1
    description.logitScale = 1 / (try configuration.number("logits_scaling") ?? 1)
    return description
  }
}

/// Gemma: norms before and after, weights of norms counted from 1, scaled embeddings.
extension ModelFamily {
  static let gemma2 = ModelFamily("gemma2") { try gemma($0, theta: 10_000) { _, _ in } }

  static let gemma3 = ModelFamily("gemma3_text") { configuration in
    // Files of before the rotary parameters by kind of layer have one base for layers with a window.
    let local = try configuration.number("rope_local_base_freq") ?? 10_000
    return try gemma(configuration, theta: 1_000_000) { options, norm in
      options.queryKeyNorm = ExactAttentionOptions.QueryKeyNorm(norm)
      if options.window != nil, try !configuration.hasRotaryByKind {
        options.rotaryTheta = local
        options.rotaryScaling = nil
      }
    }
  }

  private static func gemma(
    _ configuration: PublishedConfiguration, theta: Double,
    options change: @escaping (inout ExactAttentionOptions, NormOptions) throws -> Void
  ) throws -> ModelDescription {
    let activation = try configuration.activation("hidden_activation", default: .geluTanh)
    let scale = try configuration.number("query_pre_attn_scalar") ?? 256
    let bias = try configuration.bool("attention_bias") ?? false
    let softcap = try configuration.number("attn_logit_softcapping")
    try configuration.require("use_bidirectional_attention", among: .bool(false))
    var decoder = try DecoderFamily(configuration, theta: theta, normOffset: 1) { options, norm in
      options.hasBias = bias
      options.hasOutputBias = bias
      options.scale = 1 / scale.squareRoot()
      options.softcap = softcap
      try change(&options, norm)
    }
    decoder.norms = .around
    decoder.tiesByDefault = true
    var description = try decoder.description { _ in
      .feedForward(try configuration.feedForward(activation: activation))
    }
    description.embeddingScale = Double(description.hiddenSize).squareRoot()
    description.logitSoftcap = try configuration.number("final_logit_softcapping")
    return description
  }
}

extension PublishedConfiguration {
  /// The feed-forward layer of `intermediate_size`.
  func feedForward(activation: Activation, hasBias: Bool = false) throws -> FeedForward.Options {
    var options = FeedForward.Options(inner: try requiredInteger("intermediate_size"))
    options.activation = activation
    options.hasBias = hasBias
    return options
  }

  /// The experts of the Qwen families; nil if there are none.
  ///
  /// - Parameter sumsToOne: whether weights are divided by their sum where the file does not say.
  func experts(activation: Activation, sumsToOne: Bool = false) throws -> MixtureOfExperts.Options?
  {
    let range = 0...Self.largestSize
    let count = try integer("num_experts", in: range) ?? integer("num_local_experts", in: range)
    guard let count, count > 0 else { return nil }
    var expert = FeedForward.Options(inner: try requiredInteger("moe_intermediate_size"))
    expert.activation = activation
    var options = MixtureOfExperts.Options(
      experts: count, chosen: try requiredInteger("num_experts_per_tok"), expert: expert)
    options.routing = .softmax(sumsToOne: try bool("norm_topk_prob") ?? sumsToOne)
    if let inner = try integer("shared_expert_intermediate_size", in: range), inner > 0 {
      var shared = FeedForward.Options(inner: inner)
      shared.activation = activation
      options.shared = MixtureOfExperts.Shared(
        name: "shared_expert", options: shared, gate: "shared_expert_gate")
    }
    return options
  }

  /// The feed-forward part of each layer of the Qwen families: experts in every `decoder_sparse_step`-th layer that
  /// is not among `mlp_only_layers`, if there are experts.
  func sparseFeedForward(activation: Activation, sumsToOne: Bool = false) throws -> (Int) throws
    -> PartDescription.Kind
  {
    let experts = try experts(activation: activation, sumsToOne: sumsToOne)
    let dense = try integers("mlp_only_layers") ?? []
    let step = try integer("decoder_sparse_step") ?? 1
    return { layer in
      if let experts, !dense.contains(layer), (layer + 1) % step == 0 { return .experts(experts) }
      return .feedForward(try feedForward(activation: activation))
    }
  }

  /// Whether the rotary parameters are given for each kind of layer.
  var hasRotaryByKind: Bool {
    get throws { try object("rope_parameters")?.has("sliding_attention") ?? false }
  }
}
