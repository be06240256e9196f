import AttentionLayers

/// What a language model consists of, and what checkpoints call its tensors.
///
/// A ``LanguageModel`` is built of a description. Both kinds of configurations become one: this package's own
/// (``LanguageModelConfiguration``) and those of published models (``PublishedModel``).
public struct ModelDescription: Sendable {
  /// The number of different tokens.
  public var vocabularySize: Int
  /// The dimension of a token between the layers.
  public var hiddenSize: Int
  public var layers: [LayerDescription]
  /// The norm after the last layer.
  public var norm: Named<NormOptions>
  /// The paths of the embedding and of the list of layers.
  public var embedding: String
  public var layerList: String
  /// The path of the output projection; nil if it is the embedding.
  public var head: String?
  /// Multiplies the embeddings.
  public var embeddingScale = 1.0
  /// A norm of the embeddings, before the first layer.
  public var embeddingNorm: Named<NormOptions>?
  /// Multiplies the logits.
  public var logitScale = 1.0
  /// Logits z become c · tanh(z / c), after the scale.
  public var logitSoftcap: Double?

  /// The path and the width of forget gates' smallest values, which the model learns for all layers together.
  public var layerBounds: Named<Int>?
  /// How the paths of tensors begin that checkpoints may have and that the model does not compute.
  public var leftOut: [String] = []

  public init(
    vocabularySize: Int, hiddenSize: Int, layers: [LayerDescription], norm: Named<NormOptions>,
    embedding: String, layerList: String, head: String?
  ) {
    self.vocabularySize = vocabularySize
    self.hiddenSize = hiddenSize
    self.layers = layers
    self.norm = norm
    self.embedding = embedding
    self.layerList = layerList
    self.head = head
  }
}

/// A part of a model, and its path in checkpoints below the part that it belongs to.
public struct Named<Part: Sendable>: Sendable {
  public var name: String
  public var part: Part

  public init(_ name: String, _ part: Part) {
    self.name = name
    self.part = part
  }
}

/// A layer: steps, each of which adds to the residual stream.
public struct LayerDescription: Sendable {
  public var steps: [StepDescription]

  public init(_ steps: [StepDescription]) { self.steps = steps }
}

/// A step of a layer:
///
///     residualScale · x + scale · postNorm(Σ over the parts of part(norm(x)))
///
/// With several parts they stand beside each other, as attention and a recurrence in Falcon-H1.
public struct StepDescription: Sendable {
  public var norm: Named<NormOptions>?
  public var parts: [PartDescription]
  public var postNorm: Named<NormOptions>?
  /// The factor of what is added.
  public var scale = 1.0
  /// The factor of what it is added to.
  public var residualScale = 1.0
  /// Whether it is added to norm(x) in place of x, as in MiniMax.
  public var addsToNorm = false

  public init(norm: Named<NormOptions>?, _ parts: [PartDescription]) {
    self.norm = norm
    self.parts = parts
  }
}

/// A token mixer or a feed-forward layer of a step.
public struct PartDescription: Sendable {
  public enum Kind: Sendable {
    case mixer(any MixerConfiguration)
    case feedForward(FeedForward.Options)
    case experts(MixtureOfExperts.Options)
  }

  public var name: String
  public var kind: Kind
  /// The factors of its input and output.
  public var inputScale = 1.0
  public var outputScale = 1.0

  public init(_ name: String, _ kind: Kind) {
    self.name = name
    self.kind = kind
  }
}
