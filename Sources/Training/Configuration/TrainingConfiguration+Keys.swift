import AttentionLanguageModels

extension DataConfiguration.CodingKeys: DocumentedKey {
  package var meaning: String {
    switch self {
    case .paths: "files and folders, relative to the configuration file's folder"
    case .extensions:
      "the extensions, without the dot, of the files to read in a folder; `\"\"` for names without one"
    case .validationFraction: "the fraction of the text that is held out, at most 0.5"
    }
  }
}

extension TrainingSettings.CodingKeys: DocumentedKey {
  package var meaning: String {
    switch self {
    case .steps: "optimizer steps of the whole run"
    case .batchSize: "windows of text per step"
    case .length: "tokens per window: the longest context that is trained on"
    case .learningRate: "the highest learning rate, reached at the end of the warm-up"
    case .minimumLearningRate: "the learning rate at the end of the cosine"
    case .warmupSteps: "steps of linear warm-up"
    case .weightDecay: "AdamW's decoupled weight decay, of matrices only"
    case .beta1: "AdamW's decay of the mean gradient"
    case .beta2: "AdamW's decay of the mean squared gradient"
    case .epsilon: "AdamW's ε"
    case .clipNorm: "the greatest global norm of the gradients"
    case .precision: "the dtype that the model computes in: `float32` or `bfloat16`"
    case .seed: "determines the initial weights and the order of the text"
    case .logInterval: "steps per line of metrics"
    case .validationInterval: "steps between validations; the last step is always validated"
    case .validationTokens: "approximate number of held-out tokens that a validation reads"
    case .checkpointInterval: "steps between checkpoints; the last step always has one"
    case .keptCheckpoints: "number of checkpoints kept, the latest ones"
    case .outputDirectory:
      "the folder for checkpoints, metrics and the loss curve, relative to the working directory"
    }
  }

  package var absence: String? {
    let defaults = TrainingSettings()
    return switch self {
    case .minimumLearningRate:
      "`\(defaults.minimumLearningRate)`, or `learning_rate` if that is lower"
    case .warmupSteps: "`\(defaults.warmupSteps)`, or `steps` if there are fewer"
    case .outputDirectory: "`runs/` and the configuration file's name"
    default: nil
    }
  }
}

extension SampleConfiguration.CodingKeys: DocumentedKey {
  package var meaning: String {
    switch self {
    case .prompt: "the beginning of the text"
    case .tokens: "number of tokens to generate; 0 generates none"
    case .temperature: "divides the logits; 0 takes the most likely token"
    case .topK: "only the k most likely tokens are drawn"
    case .topP: "only the most likely tokens that together have probability p are drawn"
    case .seed: "determines the tokens drawn"
    }
  }

  package var absence: String? {
    switch self {
    case .topK, .topP: "all tokens"
    case .prompt, .tokens, .temperature, .seed: nil
    }
  }
}

extension TrainingConfiguration {
  /// Every key of a configuration with its default and meaning, in Markdown: what `attention train --keys`
  /// prints and CONFIGURATION.md holds.
  ///
  /// - Parameter mixers: the types of layers that are listed.
  public static func keysPage(
    of mixers: [any MixerConfiguration.Type] = MixerRegistry.shared.types
  ) throws -> String {
    let sections =
      try LanguageModelConfiguration.documentedSections(of: mixers) + [
        DocumentedSection(
          "`model` of a folder",
          "In place of the keys above, a model that exists, which is trained on with its own tokenizer.",
          ModelSource.FolderKey.allCases, defaults: [String: String]()),
        DocumentedSection(
          "`data`", "The text, part of which is held out for validation.",
          DataConfiguration.CodingKeys.allCases, defaults: DataConfiguration()),
        DocumentedSection(
          "`training`", "How the model is trained.", TrainingSettings.CodingKeys.allCases,
          defaults: TrainingSettings()),
        DocumentedSection(
          "`sample`", "The text that the trained model generates at the end of a run.",
          SampleConfiguration.CodingKeys.allCases, defaults: SampleConfiguration()),
      ]
    return """
      # Configuration keys

      `attention train CONFIG.json5` reads JSON5 with the sections below, of which only `model` is required.
      Every value can be changed on the command line by its path: `training.steps=100`,
      `model.layers.pattern.0.heads=2`, `data.extensions=['txt']`. Unknown keys are errors.

      This page is what `attention train --keys` prints.


      """ + sections.map(\.markdown).joined(separator: "\n\n") + "\n"
  }
}
