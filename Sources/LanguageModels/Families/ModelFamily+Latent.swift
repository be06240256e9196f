import AttentionCLibrary
import AttentionLayers

/// Families of multi-head latent attention.
extension ModelFamily {
  /// Experts chosen by softmax, in groups or not; the first layers without experts.
  static let deepSeekV2 = ModelFamily("deepseek_v2") { configuration in
    try configuration.require("norm_topk_prob", among: .bool(false))
    try configuration.require("scoring_func", among: .string("softmax"))
    let scale = try configuration.number("routed_scaling_factor") ?? 1
    let isGrouped: Bool
    switch try configuration.string("topk_method") {
    case nil, "greedy": isGrouped = false
    case "group_limited_greedy": isGrouped = true
    default:
      throw configuration.error("topk_method", mustBe: "greedy or group_limited_greedy")
    }
    return try latent(configuration) { experts in
      experts.routing = .softmax(sumsToOne: false, scale: scale)
      if isGrouped { experts.groups = try configuration.expertGroups("n_group") }
      configuration.passOver("n_group", "topk_group")
    }
  }

  /// Experts chosen by σ with a correction, in groups; the first layers without experts. GLM-4.7-Flash has the same
  /// parts.
  static let deepSeekV3 = ModelFamily("deepseek_v3", "glm4_moe_lite") { configuration in
    try configuration.require("scoring_func", among: .string("sigmoid"))
    try configuration.require("topk_method", among: .string("noaux_tc"))
    var description = try latent(configuration) { experts in
      try configuration.chooseBySigmoid(&experts, sumsToOne: "norm_topk_prob", groups: "n_group")
    }
    // The layers that predict later tokens stand behind the last one in checkpoints, and are not computed.
    configuration.passOver("num_nextn_predict_layers")
    let first = description.layers.count
    let later = try configuration.integer("num_nextn_predict_layers", in: 0...64) ?? 0
    description.leftOut = (first..<first + later).map { "model.layers.\($0)." }
    return description
  }

  /// Kimi Delta Attention, and latent attention without positions.
  static let kimiLinear = ModelFamily("kimi_linear") { configuration in
    var decoder = try DecoderFamily(configuration)
    // The original's own files name the layers of each kind, and the parts of dense layers otherwise.
    let own = try configuration.object("linear_attn_config")
    decoder.kinds = try own?.kimiKinds(layers: decoder.layers) ?? decoder.kimiKinds()
    try configuration.require("moe_router_activation_func", among: .string("sigmoid"))
    try configuration.require("mla_use_nope", among: .bool(true))
    try configuration.require("moe_layer_freq", among: .integer(1))
    configuration.passOver("use_grouped_topk", "head_dim", "model_max_length", "rope_theta")
    var delta = KimiDeltaAttention.Options(
      heads: try own?.integer("num_heads") ?? configuration.integer("linear_num_heads") ?? 32)
    let dimension =
      try own?.integer("head_dim") ?? configuration.integer("linear_head_dim") ?? 128
    (delta.keyDimension, delta.valueDimension) = (dimension, dimension)
    delta.convolution.width =
      try own?.integer("short_conv_kernel_size")
      ?? configuration.integer("linear_conv_kernel_dim") ?? 4
    delta.normEpsilon = decoder.norm.epsilon
    delta.layout = .kimi
    let recurrence = PartDescription("self_attn", .mixer(KimiDeltaConfiguration(delta)))
    var options = try configuration.latentAttention(hidden: decoder.hidden)
    options.rotaryTheta = nil
    let attention = PartDescription("self_attn", .mixer(LatentConfiguration(options)))
    let activation = try configuration.activation("hidden_act")
    var experts = try configuration.sharedExperts(
      activation: activation, count: "num_experts", chosen: "num_experts_per_token",
      shared: "num_shared_experts")
    experts.expert.names = FeedForward.Names(gate: "w1", up: "w3", down: "w2")
    try configuration.chooseBySigmoid(
      &experts, sumsToOne: "moe_renormalize", groups: "num_expert_group")
    let all = experts
    let isDense = try configuration.denseLayers(count: decoder.layers, otherwise: 1)
    let shape = decoder
    return try decoder.description { index, kind in
      let feedForward =
        isDense[index]
        ? PartDescription(
          own == nil ? "block_sparse_moe" : "mlp",
          .feedForward(try configuration.feedForward(activation: activation)))
        : PartDescription("block_sparse_moe", .experts(all))
      return LayerDescription([
        shape.step(0, [kind == "linear_attention" ? recurrence : attention]),
        shape.step(1, [feedForward]),
      ])
    }
  }

  /// A decoder with latent attention, whose first layers have no experts.
  private static func latent(
    _ configuration: PublishedConfiguration,
    choose: (inout MixtureOfExperts.Options) throws -> Void
  ) throws -> ModelDescription {
    let decoder = try DecoderFamily(configuration)
    let activation = try configuration.activation("hidden_act")
    try configuration.require("mlp_bias", among: .bool(false))
    try configuration.require("moe_layer_freq", among: .integer(1))
    configuration.passOver(
      "head_dim", "qk_head_dim", "aux_loss_alpha", "seq_aux", "ep_size", "rope_interleave")
    let options = try configuration.latentAttention(hidden: decoder.hidden)
    var experts = try configuration.sharedExperts(
      activation: activation, count: "n_routed_experts", chosen: "num_experts_per_tok",
      shared: "n_shared_experts")
    try choose(&experts)
    let all = experts
    let isDense = try configuration.denseLayers(count: decoder.layers, otherwise: 0)
    return try decoder.description { index, _ in
      LayerDescription([
        decoder.step(0, [PartDescription("self_attn", .mixer(LatentConfiguration(options)))]),
        decoder.step(
          1,
          [
            PartDescription(
              "mlp",
              isDense[index]
                ? .feedForward(try configuration.feedForward(activation: activation))
                : .experts(all))
          ]),
      ])
    }
  }
}

extension PublishedConfiguration {
  /// The options of latent attention.
  fileprivate func latentAttention(hidden: Int) throws -> LatentAttention.Options {
    var options = LatentAttention.Options(heads: try requiredInteger("num_attention_heads"))
    if let shared = try integer("num_key_value_heads"), shared != options.heads {
      throw error("num_key_value_heads", mustBe: "num_attention_heads, \(options.heads)")
    }
    options.rank = try requiredInteger("kv_lora_rank")
    options.queryRank = try integer("q_lora_rank")
    options.plainDimension = try requiredInteger("qk_nope_head_dim")
    options.rotaryDimension = try requiredInteger("qk_rope_head_dim")
    options.valueDimension = try requiredInteger("v_head_dim")
    options.hasBias = try bool("attention_bias") ?? false
    options.isRotaryInterleaved = try bool("rope_interleave") ?? true
    passOver("qk_head_dim")
    var rotary = ExactAttentionOptions(heads: options.heads)
    try readRotary(into: &rotary, headDimension: options.rotaryDimension)
    options.rotaryTheta = rotary.rotaryTheta
    options.rotaryScaling = rotary.rotaryScaling
    // YaRN's factor of the products, which files may say apart from that of the rotated elements.
    if case .yarn(let factor, _, _, _, _, _) = options.rotaryScaling, factor > 1,
      let weight = try (object("rope_parameters") ?? object("rope_scaling"))?
        .number("mscale_all_dim"), weight != 0
    {
      let amplitude = 0.1 * weight * log(factor) + 1
      options.scale =
        amplitude * amplitude
        / Double(options.plainDimension + options.rotaryDimension).squareRoot()
    }
    return options
  }

  /// Experts beside those that compute every token.
  ///
  /// - Parameters:
  ///   - activation: of all of them.
  ///   - count: the key of the number of experts.
  ///   - chosen: the key of the number that computes a token.
  ///   - shared: the key of the number of those that compute every token.
  fileprivate func sharedExperts(
    activation: Activation, count: String, chosen: String, shared: String
  ) throws -> MixtureOfExperts.Options {
    let inner = try requiredInteger("moe_intermediate_size")
    var expert = FeedForward.Options(inner: inner)
    expert.activation = activation
    var options = MixtureOfExperts.Options(
      experts: try requiredInteger(count), chosen: try requiredInteger(chosen), expert: expert)
    let number = try integer(shared, in: 0...Self.mostLayers) ?? 1
    if number > 0 {
      expert.inner = inner * number
      options.shared = MixtureOfExperts.Shared(name: "shared_experts", options: expert)
    }
    return options
  }

  /// Routing by σ with a correction.
  ///
  /// - Parameters:
  ///   - experts: whose routing is set.
  ///   - sumsToOne: the key that says whether weights are divided by their sum.
  ///   - groups: the key of the number of groups.
  fileprivate func chooseBySigmoid(
    _ experts: inout MixtureOfExperts.Options, sumsToOne: String, groups: String
  ) throws {
    experts.routing = .sigmoid(
      sumsToOne: try bool(sumsToOne) ?? true, scale: try number("routed_scaling_factor") ?? 1)
    experts.groups = try expertGroups(groups)
  }

  /// The groups of experts; nil if there is one.
  fileprivate func expertGroups(_ key: String) throws -> MixtureOfExperts.Groups? {
    guard let count = try integer(key), count > 1 else {
      passOver("topk_group")
      return nil
    }
    return MixtureOfExperts.Groups(count: count, chosen: try requiredInteger("topk_group"))
  }

  /// For each layer whether it has no experts: `mlp_layer_types`, or as many of the first as the file says.
  fileprivate func denseLayers(count: Int, otherwise: Int) throws -> [Bool] {
    let first = try integer("first_k_dense_replace", in: 0...Self.mostLayers) ?? otherwise
    guard let kinds = try perLayer("mlp_layer_types", count: count) else {
      return (0..<count).map { $0 < first }
    }
    guard kinds.allSatisfy({ ["dense", "sparse"].contains($0) }) else {
      throw error("mlp_layer_types", mustBe: "an array of dense and sparse")
    }
    return kinds.map { $0 == "dense" }
  }

  /// The kinds of layers by the numbers, from 1, of those of each.
  fileprivate func kimiKinds(layers: Int) throws -> [String]? {
    guard let full = try integers("full_attn_layers") else { return nil }
    passOver("kda_layers")
    return (1...layers).map { full.contains($0) ? "full_attention" : "linear_attention" }
  }
}

extension DecoderFamily {
  /// The kinds of layers of a file that may not say them: then each fourth, but the first, is attention.
  fileprivate func kimiKinds() -> [String] {
    guard !configuration.has("layer_types") else { return kinds }
    let period = 4
    return (0..<layers).map {
      $0 > 0 && $0 % period == 0 ? "full_attention" : "linear_attention"
    }
  }
}
