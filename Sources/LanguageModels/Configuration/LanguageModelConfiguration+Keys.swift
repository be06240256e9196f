extension LanguageModelConfiguration.CodingKeys: DocumentedKey {
  package var meaning: String {
    switch self {
    case .vocabularySize: "number of different tokens; 256 for bytes"
    case .hiddenSize: "the dimension of a token between the layers"
    case .feedForwardSize: "the inner dimension of the feed-forward layers"
    case .normEpsilon: "ε of the norms"
    case .hasTiedEmbeddings: "whether the output projection is the embedding"
    case .layers: "a list of layers, or a pattern of them that repeats"
    }
  }

  package var absence: String? {
    switch self {
    case .hiddenSize, .layers: "required"
    case .feedForwardSize: "8/3 of `hidden_size`, rounded up to a multiple of 32"
    case .vocabularySize, .normEpsilon, .hasTiedEmbeddings: nil
    }
  }
}

extension LayerSchedule.CodingKeys: DocumentedKey {
  package var meaning: String {
    switch self {
    case .pattern: "a list of layers"
    case .repeats: "number of times that the list occurs"
    }
  }

  package var absence: String? { "required" }
}

extension LanguageModelConfiguration {
  /// All keys of the section `model`, and of its layers of these types.
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
