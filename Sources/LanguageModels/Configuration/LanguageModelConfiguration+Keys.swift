extension LanguageModelConfiguration.CodingKeys: DocumentedKey {
  package var meaning: String {
    switch self {
    case .vocabularySize: "how many different tokens there are; 256 are bytes"
    case .hiddenSize: "how many numbers stand for a token between the layers"
    case .feedForwardSize: "the inner width of the feed-forward layers"
    case .normEpsilon: "ε of the norms"
    case .hasTiedEmbeddings: "whether the output projection is the embedding"
    case .layers: "a list of layers, or a pattern of them that repeats"
    }
  }

  package var absence: String? {
    switch self {
    case .hiddenSize, .layers: "required"
    case .feedForwardSize: "8/3 of `hidden_size`, to a multiple of 32"
    case .vocabularySize, .normEpsilon, .hasTiedEmbeddings: nil
    }
  }
}

extension LayerSchedule.CodingKeys: DocumentedKey {
  package var meaning: String {
    switch self {
    case .pattern: "a list of layers"
    case .repeats: "how often the list is gone through"
    }
  }

  package var absence: String? { "required" }
}

extension LanguageModelConfiguration {
  /// All keys of the section `model`, and of layers of these types in it.
  package static func documentedSections(
    of mixers: [any MixerConfiguration.Type]
  ) throws -> [DocumentedSection] {
    let smallest = LanguageModelConfiguration(hiddenSize: 1, layers: [LayerConfiguration]())
    return try [
      DocumentedSection(
        "`model`", "The shape of the language model.", CodingKeys.allCases, defaults: smallest),
      DocumentedSection(
        "`model.layers`",
        """
        Either a list, whose elements are `model.layers.0`, `model.layers.1` and so on, or an object with
        these keys, whose layers are `model.layers.pattern.0` and so on.
        """, LayerSchedule.CodingKeys.allCases, defaults: smallest),
    ] + mixers.map { try $0.documentedSection() }
  }
}
