import AttentionLayers
import AttentionTensors

/// Families of attention and Gated DeltaNet.
extension ModelFamily {
  /// Layers of Gated DeltaNet and of attention with an output gate; experts, one of them for every token.
  static let qwen3Next = ModelFamily("qwen3_next") { try gatedDelta($0, .qwen3Next) }

  static let qwen35 = ModelFamily("qwen3_5_text", "qwen3_5_moe_text") {
    try gatedDelta($0, .qwen35)
  }

  private static func gatedDelta(
    _ configuration: PublishedConfiguration, _ layout: GatedDeltaNet.Layout
  ) throws -> ModelDescription {
    let activation = try configuration.activation("hidden_act")
    let bias = try configuration.bool("attention_bias") ?? false
    let decoder = try DecoderFamily(configuration, normOffset: 1) { options, norm in
      options.hasBias = bias
      options.hasOutputBias = bias
      options.hasOutputGate = true
      options.queryKeyNorm = ExactAttentionOptions.QueryKeyNorm(norm)
      options.rotaryDimension =
        options.rotaryDimension ?? options.headDimension.map { $0 / 4 }
    }
    var options = GatedDeltaNet.Options(
      heads: try configuration.integer("linear_num_key_heads") ?? 16)
    options.valueHeads = try configuration.integer("linear_num_value_heads") ?? 32
    options.keyDimension = try configuration.integer("linear_key_head_dim") ?? 128
    options.valueDimension = try configuration.integer("linear_value_head_dim") ?? 128
    options.convolution.width = try configuration.integer("linear_conv_kernel_dim") ?? 4
    options.normEpsilon = decoder.norm.epsilon
    options.layout = layout
    let feedForward = try configuration.sparseFeedForward(activation: activation, sumsToOne: true)
    return try decoder.description(
      recurrence: PartDescription("linear_attn", .mixer(GatedDeltaNetConfiguration(options))),
      feedForward: feedForward)
  }
}

/// Families of attention and other recurrences.
extension ModelFamily {
  /// Lightning attention and softmax attention; what a step adds goes to what its norm gives.
  static let miniMax = ModelFamily("minimax") { configuration in
    let count = try configuration.layerCount()
    var decoder = try DecoderFamily(configuration)
    if decoder.kinds.allSatisfy({ $0 == "full_attention" }), !configuration.has("layer_types") {
      decoder.kinds = (0..<count).map { $0 % 2 == 0 ? "linear_attention" : "full_attention" }
    }
    var expert = try configuration.feedForward(activation: configuration.activation("hidden_act"))
    expert.names = FeedForward.Names(gate: "w1", up: "w3", down: "w2")
    var experts = MixtureOfExperts.Options(
      experts: try configuration.integer("num_local_experts") ?? 8,
      chosen: try configuration.integer("num_experts_per_tok") ?? 2, expert: expert)
    experts.routing = .softmaxOfChosen
    let heads = try configuration.requiredInteger("num_attention_heads")
    let dimension = try configuration.integer("head_dim") ?? decoder.hidden / heads
    func factors(_ name: String) throws -> (residual: Double, added: Double) {
      (
        try configuration.number("\(name)_alpha_factor") ?? 1,
        try configuration.number("\(name)_beta_factor") ?? 1
      )
    }
    func scaled(_ step: StepDescription, _ name: String) throws -> StepDescription {
      var step = step
      (step.residualScale, step.scale) = try factors(name)
      step.addsToNorm = true
      return step
    }
    configuration.passOver("block_size")
    let experted = PartDescription("block_sparse_moe", .experts(experts))
    let shape = decoder
    return try decoder.description { index, kind in
      var mixer: PartDescription
      if kind == "linear_attention" {
        var options = LightningAttention.Options(heads: heads)
        options.headDimension = dimension
        options.layer = index
        options.layers = count
        // The original's norm over heads has the default of its class, whatever the file says.
        options.normEpsilon = 1e-6
        mixer = PartDescription("self_attn", .mixer(LightningConfiguration(options)))
      } else {
        mixer = try shape.mixer(kind)
      }
      return LayerDescription([
        try scaled(
          shape.step(0, [mixer]), kind == "linear_attention" ? "linear_attn" : "full_attn"),
        try scaled(shape.step(1, [experted]), "mlp"),
      ])
    }
  }

  /// Griffin: the RG-LRU and attention with a window.
  static let recurrentGemma = ModelFamily("recurrent_gemma") { configuration in
    let hidden = try configuration.requiredInteger("hidden_size")
    let norm = NormOptions(
      epsilon: try configuration.number("rms_norm_eps") ?? 1e-6, weightOffset: 1)
    let heads = try configuration.requiredInteger("num_attention_heads")
    var attention = ExactAttentionOptions(
      heads: heads, keyValueHeads: try configuration.integer("num_key_value_heads"),
      headDimension: try configuration.integer("head_dim") ?? hidden / heads,
      window: try configuration.integer("attention_window_size", in: 1...(1 << 31)) ?? 2048)
    try configuration.readRotary(into: &attention, headDimension: hidden / heads)
    attention.rotaryDimension = attention.rotaryDimension ?? hidden / heads / 2
    attention.hasBias = try configuration.bool("attention_bias") ?? false
    attention.hasOutputBias = true
    var recurrence = GriffinRecurrence.Options(heads: heads)
    recurrence.width = try configuration.integer("lru_width")
    recurrence.convolution = ConvolutionOptions(
      width: try configuration.integer("conv1d_width") ?? 4, hasBias: true)
    // Half of the file's width is the gate's.
    var inner = FeedForward.Options(
      inner: try configuration.requiredInteger("intermediate_size") / 2)
    inner.activation = try configuration.activation("hidden_activation", default: .geluTanh)
    inner.hasBias = true
    let pattern =
      try configuration.strings("block_types") ?? configuration.strings("_block_types")
      ?? ["recurrent", "recurrent", "attention"]
    guard !pattern.isEmpty else {
      throw configuration.error("block_types", mustBe: "an array of at least one kind")
    }
    configuration.passOver("w_init_variance_scale", "final_w_init_variance_scale")
    let parts: [String: PartDescription.Kind] = [
      "attention": .mixer(SoftmaxConfiguration(attention)),
      "recurrent": .mixer(GriffinConfiguration(recurrence)),
    ]
    let feedForward = PartDescription("mlp_block", .feedForward(inner))
    let layers = try (0..<(try configuration.layerCount())).map { layer in
      guard let part = parts[pattern[layer % pattern.count]] else {
        throw configuration.error("block_types", mustBe: "of recurrent and attention")
      }
      return LayerDescription([
        StepDescription(
          norm: Named("temporal_pre_norm", norm), [PartDescription("temporal_block", part)]),
        StepDescription(norm: Named("channel_pre_norm", norm), [feedForward]),
      ])
    }
    var description = ModelDescription(
      vocabularySize: try configuration.requiredInteger("vocab_size"), hiddenSize: hidden,
      layers: layers, norm: Named("model.final_norm", norm), embedding: "model.embed_tokens",
      layerList: "model.layers",
      head: try configuration.bool("tie_word_embeddings") ?? true ? nil : "lm_head")
    // The factor is a number of bfloat16, whatever the model computes in.
    let rounded = BFloat16(Double(hidden).squareRoot())
    description.embeddingScale = Double(Float(bitPattern: UInt32(rounded.bitPattern) << 16))
    description.logitSoftcap = try configuration.number("logits_soft_cap") ?? 30
    return description
  }
}
