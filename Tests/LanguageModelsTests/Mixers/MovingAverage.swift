import AttentionLanguageModels
import AttentionLayers
import AttentionOperators
import AttentionTensors

/// A mixer from outside the package, made of what is public: y = W s, s_t = decay · s_{t−1} + V x_t.
struct MovingAverage: TokenMixer {
  private let hidden: Int
  private let decay: Double
  private let value: Linear
  private let output: Linear

  init(hidden: Int, decay: Double, outputScale: Double, scope: ParameterScope) throws {
    self.hidden = hidden
    self.decay = decay
    value = try Linear(inputs: hidden, outputs: hidden, scope: scope["v_proj"])
    output = try Linear(
      inputs: hidden, outputs: hidden, scale: outputScale, scope: scope["o_proj"])
  }

  func makeCache() -> any MixerCache { RecurrentCache() }

  func callAsFunction(
    _ x: Tensor, context: TokenContext, cache: inout (any MixerCache)?
  ) throws -> Tensor {
    try validate(x, hidden: hidden, context: context, cache: cache)
    var kept = try cache.asKind(RecurrentCache.self)
    let values = try value(x)
    let result = try gatedScan(
      inputs: values * (1 - decay),
      decay: .full(values.shape, decay, dtype: values.dtype, device: values.device).logarithm(),
      initialState: kept?.state, cumulativeLengths: context.cumulativeLengths)
    kept?.advance(by: context.length, to: result.finalState)
    cache = kept
    return try output(result.output)
  }
}

/// `{ type: "test.moving_average", decay: 0.8 }`
struct MovingAverageConfiguration: MixerConfiguration {
  static let name = "test.moving_average"
  static let summary = "A moving average of earlier tokens."

  var decay = 0.9

  enum CodingKeys: String, DocumentedKey {
    case decay
    var meaning: String { "the weight of one token relative to the next" }
  }

  init() {}

  init(decay: Double) { self.decay = decay }

  init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    decay = try values.value(.decay, default: decay)
  }

  func validate(hidden: Int) throws {
    guard decay > 0, decay < 1 else {
      throw LayerError.invalidArgument("decay", was: "\(decay)", mustBe: "between 0 and 1")
    }
  }

  func makeMixer(hidden: Int, outputScale: Double, scope: ParameterScope) throws -> any TokenMixer {
    try MovingAverage(hidden: hidden, decay: decay, outputScale: outputScale, scope: scope)
  }
}
