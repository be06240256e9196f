import AttentionLayers

extension LayerConfiguration.ExactKeys: DocumentedKey {
  package var meaning: String {
    switch self {
    case .type: "the token mixer"
    case .heads: "query heads"
    case .keyValueHeads:
      "heads of keys and values, shared by groups of query heads; divides `heads`"
    case .headDimension: "numbers in a head"
    case .window: "how many tokens a token sees, itself included"
    case .rotaryTheta: "the base of the rotary positions' frequencies; `null` for no positions"
    case .scale: "what the cosines are multiplied by at first; it is trained"
    }
  }

  package var absence: String? {
    switch self {
    case .type: "required"
    case .keyValueHeads: "as many as `heads`"
    case .headDimension: "`hidden_size` divided by `heads`"
    case .window: "all before it"
    case .heads, .rotaryTheta, .scale: nil
    }
  }
}

extension LayerConfiguration.GatedLinearKeys: DocumentedKey {
  package var meaning: String {
    switch self {
    case .type: "the token mixer"
    case .heads: "heads, each with a state"
    case .keyExpansion: "the keys' width over all heads, as a multiple of `hidden_size`"
    case .valueExpansion: "the values' width over all heads, as a multiple of `hidden_size`"
    case .decayRank: "the width between the two projections that make the decay"
    case .decayDivisor: "log-decays are divided by this: larger numbers forget more slowly"
    case .gate: "what the output is multiplied by: `swish` or `sigmoid` of a projection"
    }
  }

  package var absence: String? { self == .type ? "required" : nil }
}

extension LayerConfiguration {
  /// The keys of a layer of each type.
  static func documentedSections() throws -> [DocumentedSection] {
    try Kind.allCases.map { kind in
      let title = "`model.layers`, an element with `type: \"\(kind.rawValue)\"`"
      switch kind {
      case .softmax:
        return try DocumentedSection(
          title, "Softmax attention.", ExactKeys.allCases.filter { $0 != .scale },
          defaults: LayerConfiguration.softmax(ExactAttentionOptions(heads: defaultHeads)))
      case .cosine:
        return try DocumentedSection(
          title, "Cosine similarity attention.", ExactKeys.allCases,
          defaults: LayerConfiguration.cosine(ExactAttentionOptions(heads: defaultHeads)))
      case .gatedLinear:
        return try DocumentedSection(
          title, "Gated linear attention.", GatedLinearKeys.allCases,
          defaults: LayerConfiguration.gatedLinear(
            GatedLinearAttention.Options(heads: defaultHeads)))
      }
    }
  }
}
