import AttentionLayers

/// Families of attention and Mamba-2, or Mamba.
extension ModelFamily {
  static let bamba = ModelFamily("bamba") { configuration in
    let activation = try configuration.activation("hidden_act")
    let hasBias = try configuration.bool("mlp_bias") ?? false
    let bias = try configuration.bool("attention_bias") ?? false
    var decoder = try DecoderFamily(configuration) { options, _ in
      options.hasBias = bias
      options.hasOutputBias = bias
      options.rotaryDimension =
        try options.rotaryDimension
        ?? configuration.requiredInteger("hidden_size") / options.heads / 2
    }
    decoder.nameAsHybrids()
    let attending = try configuration.integers("attn_layer_indices") ?? []
    decoder.kinds = (0..<decoder.layers).map {
      attending.contains($0) ? "full_attention" : "linear_attention"
    }
    configuration.passOver("z_loss_coefficient")
    return try decoder.description(
      recurrence: PartDescription("mamba", configuration.mamba2(decoder))
    ) { _ in .feedForward(try configuration.feedForward(activation: activation, hasBias: hasBias)) }
  }

  /// Attention and Mamba-2 beside each other in every layer.
  static let falconH1 = ModelFamily("falcon_h1") { configuration in
    let bias = try configuration.bool("attention_bias") ?? false
    let keyScale = try configuration.number("key_multiplier") ?? 1
    var decoder = try DecoderFamily(configuration) { options, _ in
      options.hasBias = bias
      options.hasOutputBias = bias
      let width = try configuration.requiredInteger("hidden_size")
      let dimension = options.headDimension ?? width / options.heads
      options.scale = keyScale / Double(dimension).squareRoot()
    }
    decoder.nameAsHybrids()
    var attention = try decoder.mixer("full_attention")
    attention.inputScale = try configuration.number("attention_in_multiplier") ?? 1
    attention.outputScale = try configuration.number("attention_out_multiplier") ?? 1
    var mamba = PartDescription("mamba", try configuration.mamba2(decoder))
    mamba.outputScale = try configuration.number("ssm_out_multiplier") ?? 1
    let scales = try configuration.numbers("mlp_multipliers", count: 2) ?? [1, 1]
    var options = try configuration.feedForward(
      activation: configuration.activation("hidden_act"),
      hasBias: configuration.bool("mlp_bias") ?? false)
    options.gateScale = scales[0]
    var feedForward = PartDescription("feed_forward", .feedForward(options))
    feedForward.outputScale = scales[1]
    let layer = LayerDescription([
      decoder.step(0, [mamba, attention]), decoder.step(1, [feedForward]),
    ])
    var description = try decoder.description { _, _ in layer }
    description.embeddingScale = try configuration.number("embedding_multiplier") ?? 1
    description.logitScale = try configuration.number("lm_head_multiplier") ?? 1
    return description
  }

  /// Experts and a feed-forward layer beside each other.
  static let graniteHybrid = ModelFamily("granitemoehybrid") { configuration in
    let activation = try configuration.activation("hidden_act")
    let bias = try configuration.bool("attention_bias") ?? false
    let scale = try configuration.number("attention_multiplier") ?? 1
    let rotates = try configuration.string("position_embedding_type") == "rope"
    var decoder = try DecoderFamily(configuration) { options, _ in
      options.hasBias = bias
      options.hasOutputBias = bias
      options.scale = scale
      if !rotates { options.rotaryTheta = nil }
    }
    decoder.stepScale = try configuration.number("residual_multiplier") ?? 1
    func layer(_ inner: Int) -> FeedForward.Options {
      var options = FeedForward.Options(inner: inner)
      options.activation = activation
      options.names = FeedForward.Names(down: "output_linear", fused: "input_linear")
      return options
    }
    let shared = PartDescription(
      "shared_mlp",
      .feedForward(layer(try configuration.requiredInteger("shared_intermediate_size"))))
    var parts = [shared]
    let range = 0...PublishedConfiguration.largestSize
    let count = try configuration.integer("num_local_experts", in: range) ?? 0
    let inner = try configuration.requiredInteger("intermediate_size")
    let chosen = try configuration.integer("num_experts_per_tok", in: range) ?? 2
    if count > 0 {
      var experts = MixtureOfExperts.Options(experts: count, chosen: chosen, expert: layer(inner))
      experts.routing = .softmaxOfChosen
      experts.router = "router.layer"
      experts.layout = .stacked
      parts.insert(PartDescription("block_sparse_moe", .experts(experts)), at: 0)
    }
    let all = parts
    var description = try decoder.description(
      recurrence: PartDescription("mamba", configuration.mamba2(decoder)), parts: { _ in all })
    description.embeddingScale = try configuration.number("embedding_multiplier") ?? 1
    description.logitScale = 1 / (try configuration.number("logits_scaling") ?? 1)
    return description
  }

  /// Layers of attention without positions and of Mamba, each with a feed-forward layer or experts.
  static let jamba = ModelFamily("jamba") { configuration in
    let activation = try configuration.activation("hidden_act")
    var decoder = try DecoderFamily(configuration) { options, _ in options.rotaryTheta = nil }
    decoder.nameAsHybrids()
    func isOf(_ name: String, _ layer: Int, _ period: Int, _ offset: Int) throws -> Bool {
      try layer % (configuration.integer("\(name)_layer_period") ?? period)
        == configuration.integer("\(name)_layer_offset", in: 0...(1 << 20)) ?? offset
    }
    decoder.kinds = try (0..<decoder.layers).map {
      try isOf("attn", $0, 8, 4) ? "full_attention" : "linear_attention"
    }
    var mamba = Mamba.Options()
    mamba.expansion = Double(try configuration.integer("mamba_expand") ?? 2)
    mamba.stateDimension = try configuration.integer("mamba_d_state") ?? 16
    mamba.stepRank = try configuration.automaticInteger("mamba_dt_rank")
    mamba.convolution = ConvolutionOptions(
      width: try configuration.integer("mamba_d_conv") ?? 4,
      hasBias: try configuration.bool("mamba_conv_bias") ?? true)
    mamba.hasBias = try configuration.bool("mamba_proj_bias") ?? false
    mamba.selectionNorm = .learned
    mamba.normEpsilon = decoder.norm.epsilon
    let expert = try configuration.feedForward(activation: activation)
    var experts = MixtureOfExperts.Options(
      experts: try configuration.integer("num_experts") ?? 16,
      chosen: try configuration.integer("num_experts_per_tok") ?? 2, expert: expert)
    experts.routing = .softmax(sumsToOne: false)
    experts.router = "router"
    let all = experts
    configuration.passOver("use_mamba_kernels", "use_mambapy", "use_associative_scan")
    return try decoder.description(
      recurrence: PartDescription("mamba", .mixer(MambaConfiguration(mamba)))
    ) { layer in
      try all.experts > 1 && isOf("expert", layer, 2, 1) ? .experts(all) : .feedForward(expert)
    }
  }

  /// One part a layer: Mamba-2, attention without positions, a feed-forward layer or experts.
  static let nemotronH = ModelFamily("nemotron_h") { configuration in
    let activation = try configuration.activation("mlp_hidden_act", default: .squaredReLU)
    let bias = try configuration.bool("attention_bias") ?? false
    let hasBias = try configuration.bool("mlp_bias") ?? false
    let norm = NormOptions(epsilon: try configuration.number("layer_norm_epsilon") ?? 1e-5)
    let hidden = try configuration.requiredInteger("hidden_size")
    let kinds = try configuration.nemotronKinds()
    var mamba = Mamba2.Options(heads: try configuration.requiredInteger("mamba_num_heads"))
    mamba.headDimension = try configuration.integer("mamba_head_dim") ?? 64
    mamba.groups = try configuration.integer("n_groups") ?? 8
    mamba.stateDimension = try configuration.integer("ssm_state_size") ?? 128
    mamba.convolution = ConvolutionOptions(
      width: try configuration.integer("conv_kernel") ?? 4,
      hasBias: try configuration.bool("use_conv_bias") ?? true)
    mamba.hasBias = try configuration.bool("mamba_proj_bias") ?? false
    mamba.hasOutputBias = mamba.hasBias
    mamba.normEpsilon = norm.epsilon
    try configuration.readStepLimits(into: &mamba)
    let recurrence = PartDescription.Kind.mixer(Mamba2Configuration(mamba))
    func layer(_ inner: Int) -> FeedForward.Options {
      var options = FeedForward.Options(inner: inner)
      options.activation = activation
      options.isGated = false
      options.hasBias = hasBias
      return options
    }
    func part(_ kind: String) throws -> PartDescription.Kind {
      switch kind {
      case "linear_attention": return recurrence
      case "full_attention":
        var options = ExactAttentionOptions(
          heads: try configuration.requiredInteger("num_attention_heads"),
          keyValueHeads: try configuration.integer("num_key_value_heads"),
          headDimension: try configuration.integer("head_dim") ?? 128)
        options.rotaryTheta = nil
        options.hasBias = bias
        options.hasOutputBias = bias
        return .mixer(SoftmaxConfiguration(options))
      case "mlp": return .feedForward(layer(try configuration.requiredInteger("intermediate_size")))
      case "moe": return .experts(try configuration.nemotronExperts(layer))
      default:
        throw configuration.error("layers_block_type", mustBe: "of mamba, attention, mlp and moe")
      }
    }
    configuration.passOver(
      "use_mamba_kernels", "mamba_ssm_cache_dtype", "residual_in_fp32", "rescale_prenorm_residual",
      "time_step_floor", "time_step_max", "time_step_min", "mtp_layers_block_type", "chunk_size",
      "moe_shared_expert_overlap", "num_hidden_layers", "num_logits_to_keep", "expand",
      "rms_norm_eps")
    try configuration.require("use_bias", among: .bool(false))
    try configuration.require("mamba_hidden_act", among: .string("silu"))
    let layers = try kinds.map {
      LayerDescription([
        StepDescription(norm: Named("norm", norm), [PartDescription("mixer", try part($0))])
      ])
    }
    return ModelDescription(
      vocabularySize: try configuration.requiredInteger("vocab_size"), hiddenSize: hidden,
      layers: layers, norm: Named("backbone.norm_f", norm), embedding: "backbone.embeddings",
      layerList: "backbone.layers",
      head: try configuration.bool("tie_word_embeddings") ?? false ? nil : "lm_head")
  }
}

extension DecoderFamily {
  /// The names of the families of attention and Mamba.
  fileprivate mutating func nameAsHybrids() {
    feedForward = "feed_forward"
    normNames = ["input_layernorm", "pre_ff_layernorm"]
    lastNorm = "model.final_layernorm"
  }
}

extension PublishedConfiguration {
  /// A whole number, or nil if it is absent or "auto".
  func automaticInteger(_ key: String) throws -> Int? {
    if case "auto"? = try? string(key) { return nil }
    return try integer(key)
  }

  /// The limits of the steps of Mamba-2.
  func readStepLimits(into options: inout Mamba2.Options) throws {
    guard let limits = try numbers("time_step_limit", count: 2) else { return }
    options.smallestStep = limits[0]
    options.largestStep = limits[1].isFinite ? limits[1] : nil
  }

  /// Mamba-2 of Bamba, Falcon-H1 and Granite.
  fileprivate func mamba2(_ decoder: DecoderFamily) throws -> PartDescription.Kind {
    var options = Mamba2.Options(heads: try integer("mamba_n_heads") ?? 128)
    let width =
      try integer("mamba_d_ssm") ?? (integer("mamba_expand") ?? 2) * decoder.hidden
    options.headDimension = try automaticInteger("mamba_d_head") ?? width / options.heads
    guard options.headDimension.map({ $0 * options.heads }) == width else {
      throw error("mamba_d_head", mustBe: "\(width) divided by mamba_n_heads, \(options.heads)")
    }
    options.groups = try integer("mamba_n_groups") ?? 1
    options.stateDimension = try integer("mamba_d_state") ?? 256
    options.convolution = ConvolutionOptions(
      width: try integer("mamba_d_conv") ?? 4, hasBias: try bool("mamba_conv_bias") ?? true)
    options.hasBias = try bool("mamba_proj_bias") ?? false
    options.hasOutputBias = try bool("projectors_bias") ?? options.hasBias
    options.normEpsilon = decoder.norm.epsilon
    try readStepLimits(into: &options)
    if try bool("mamba_rms_norm") != nil {
      // Falcon-H1: the norm may be absent, or stand before the gate, and parts have factors.
      let before = try bool("mamba_norm_before_gate") ?? true
      options.norm = try bool("mamba_rms_norm") == true ? (before ? .normFirst : .gateFirst) : .none
      options.inputMultiplier = try number("ssm_in_multiplier") ?? 1
      options.multipliers = try numbers("ssm_multipliers", count: 5) ?? options.multipliers
    }
    passOver("mamba_chunk_size", "num_logits_to_keep", "mamba_use_mlp")
    return .mixer(Mamba2Configuration(options))
  }

  /// The kinds of the layers of Nemotron-H: a list, or a pattern of one letter a layer.
  fileprivate func nemotronKinds() throws -> [String] {
    let key = "hybrid_override_pattern"
    guard let pattern = try string(key) else {
      guard let kinds = try strings("layers_block_type"), 1...Self.mostLayers ~= kinds.count else {
        throw error("layers_block_type", mustBe: "an array of 1 to \(Self.mostLayers) kinds")
      }
      return try layerKinds(count: kinds.count) ?? kinds
    }
    let names: [Character: String] = [
      "M": "linear_attention", "*": "full_attention", "-": "mlp", "E": "moe",
    ]
    guard 1...Self.mostLayers ~= pattern.count else {
      throw error(key, mustBe: "1 to \(Self.mostLayers) of M, *, - and E")
    }
    return try pattern.map {
      guard let name = names[$0] else {
        throw error(key, mustBe: "1 to \(Self.mostLayers) of M, *, - and E")
      }
      return name
    }
  }

  /// The experts of Nemotron-H.
  fileprivate func nemotronExperts(
    _ layer: (Int) -> FeedForward.Options
  ) throws -> MixtureOfExperts.Options {
    try require("n_group", among: .integer(1))
    try require("topk_group", among: .integer(1))
    try require("moe_latent_size", among: .null)
    try require("n_shared_experts", among: .integer(1))
    var experts = MixtureOfExperts.Options(
      experts: try requiredInteger("n_routed_experts"),
      chosen: try requiredInteger("num_experts_per_tok"),
      expert: layer(try requiredInteger("moe_intermediate_size")))
    experts.routing = .sigmoid(
      sumsToOne: try bool("norm_topk_prob") ?? true,
      scale: try number("routed_scaling_factor") ?? 1)
    experts.shared = MixtureOfExperts.Shared(
      name: "shared_experts",
      options: layer(try requiredInteger("moe_shared_expert_intermediate_size")))
    return experts
  }
}
