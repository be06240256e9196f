import AttentionLayers

/// Families of recurrences alone.
extension ModelFamily {
  static let mamba = ModelFamily("mamba") { try mamba($0, selectionNorm: .none) }

  static let falconMamba = ModelFamily("falcon_mamba") { try mamba($0, selectionNorm: .plain) }

  private static func mamba(
    _ configuration: PublishedConfiguration, selectionNorm: Mamba.SelectionNorm
  ) throws -> ModelDescription {
    var options = Mamba.Options()
    options.expansion = Double(try configuration.integer("expand") ?? 2)
    options.stateDimension = try configuration.integer("state_size") ?? 16
    options.stepRank = try configuration.automaticInteger("time_step_rank")
    options.convolution = try configuration.convolution()
    options.hasBias = try configuration.bool("use_bias") ?? false
    options.selectionNorm = selectionNorm
    options.normEpsilon = try configuration.number("mixer_rms_eps") ?? 1e-6
    configuration.passOver(
      "use_mambapy", "use_associative_scan", "time_step_init_scheme", "time_step_scale",
      "intermediate_size")
    return try configuration.backbone(MambaConfiguration(options), isTied: true)
  }

  static let mamba2 = ModelFamily("mamba2") { configuration in
    var options = Mamba2.Options(heads: try configuration.integer("num_heads") ?? 128)
    options.headDimension = try configuration.integer("head_dim") ?? 64
    options.groups = try configuration.integer("n_groups") ?? 8
    options.stateDimension = try configuration.integer("state_size") ?? 128
    options.convolution = try configuration.convolution()
    options.hasBias = try configuration.bool("use_bias") ?? false
    options.hasOutputBias = options.hasBias
    options.normEpsilon = try configuration.number("layer_norm_epsilon") ?? 1e-5
    try configuration.readStepLimits(into: &options)
    configuration.passOver("chunk_size", "expand", "rms_norm")
    return try configuration.backbone(Mamba2Configuration(options), isTied: false)
  }
}

extension PublishedConfiguration {
  fileprivate func convolution() throws -> ConvolutionOptions {
    ConvolutionOptions(
      width: try integer("conv_kernel") ?? 4, hasBias: try bool("use_conv_bias") ?? true)
  }

  /// A model of layers of one mixer, after a norm.
  ///
  /// - Parameter isTied: whether the output projection is the embedding where the file does not say.
  fileprivate func backbone(_ mixer: some MixerConfiguration, isTied: Bool) throws
    -> ModelDescription
  {
    let norm = NormOptions(epsilon: try number("layer_norm_epsilon") ?? 1e-5)
    try require("hidden_act", among: .string("silu"))
    passOver(
      "residual_in_fp32", "rescale_prenorm_residual", "time_step_floor", "time_step_max",
      "time_step_min")
    let layer = LayerDescription([
      StepDescription(norm: Named("norm", norm), [PartDescription("mixer", .mixer(mixer))])
    ])
    return ModelDescription(
      vocabularySize: try requiredInteger("vocab_size"),
      hiddenSize: try requiredInteger("hidden_size"),
      layers: Array(repeating: layer, count: try layerCount()),
      norm: Named("backbone.norm_f", norm), embedding: "backbone.embeddings",
      layerList: "backbone.layers",
      head: try bool("tie_word_embeddings") ?? isTied ? nil : "lm_head")
  }
}
