import AttentionLanguageModels

extension DataConfiguration.CodingKeys: DocumentedKey {
  package var meaning: String {
    switch self {
    case .paths: "files and folders, from the configuration file's folder"
    case .extensions:
      "which files of a folder are text, by the end of their names; `\"\"` for names without a dot"
    case .validationFraction: "the share of the text that is held out, at most 0.5"
    }
  }
}

extension TrainingSettings.CodingKeys: DocumentedKey {
  package var meaning: String {
    switch self {
    case .steps: "optimizer steps of the whole run"
    case .batchSize: "windows of text a step"
    case .length: "tokens in a window: the longest context that is trained"
    case .learningRate: "the highest learning rate, reached at the end of the warm-up"
    case .minimumLearningRate: "the learning rate that the cosine ends at"
    case .warmupSteps: "steps until the highest learning rate"
    case .weightDecay: "the share of a matrix that is taken away each step, times the learning rate"
    case .beta1: "AdamW's decay of the mean gradient"
    case .beta2: "AdamW's decay of the mean squared gradient"
    case .epsilon: "AdamW's ε"
    case .clipNorm: "the greatest norm of all gradients together"
    case .precision: "what the model computes in: `float32` or `bfloat16`"
    case .seed: "decides the initial weights and the order of the text"
    case .logInterval: "steps in one line of metrics"
    case .validationInterval: "steps between validations; the last step is always validated"
    case .validationTokens: "about how many held-out tokens a validation reads"
    case .checkpointInterval: "steps between checkpoints; the last step always has one"
    case .keptCheckpoints: "how many checkpoints are kept, the latest ones"
    case .outputDirectory:
      "the folder for checkpoints, metrics and the loss curve, from the working directory"
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
    case .prompt: "what the text begins with"
    case .tokens: "how many tokens are written; 0 writes none"
    case .temperature: "divides the logits; 0 takes the likeliest token"
    case .topK: "only the likeliest k tokens are drawn from"
    case .topP: "only the likeliest tokens whose probabilities make up p are drawn from"
    case .seed: "decides what is drawn"
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
  public static func keysPage() throws -> String {
    let sections =
      try LanguageModelConfiguration.documentedSections() + [
        DocumentedSection(
          "`data`", "The text, a part of which is held out to validate the model.",
          DataConfiguration.CodingKeys.allCases, defaults: DataConfiguration()),
        DocumentedSection(
          "`training`", "How the model is trained.", TrainingSettings.CodingKeys.allCases,
          defaults: TrainingSettings()),
        DocumentedSection(
          "`sample`", "What the trained model writes at the end of a run.",
          SampleConfiguration.CodingKeys.allCases, defaults: SampleConfiguration()),
      ]
    return """
      # Configuration keys

      `attention train CONFIG.json5` reads JSON5 with the sections below, of which only `model` is required.
      Every value can be changed on the command line by its path: `training.steps=100`,
      `model.layers.pattern.0.heads=2`, `data.extensions=['txt']`. Other keys are mistakes.

      This page is what `attention train --keys` prints.


      """ + sections.map(\.markdown).joined(separator: "\n\n") + "\n"
  }
}
