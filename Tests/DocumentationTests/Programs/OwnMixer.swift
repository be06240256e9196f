import SwiftAttention

struct GatedUnit: TokenMixer {
  private let hidden: Int
  private let candidate: Linear
  private let update: Linear
  private let output: Linear

  init(hidden: Int, width: Int, outputScale: Double = 1, scope: ParameterScope) throws {
    self.hidden = hidden
    candidate = try Linear(inputs: hidden, outputs: width, scope: scope["candidate_proj"])
    update = try Linear(
      inputs: hidden, outputs: width, hasBias: true, scope: scope["update_proj"])
    output = try Linear(
      inputs: width, outputs: hidden, scale: outputScale, scope: scope["o_proj"])
  }

  func callAsFunction(
    _ x: Tensor, context: TokenContext, cache: inout (any MixerCache)?
  ) throws -> Tensor {
    try validate(x, hidden: hidden, context: context, cache: cache)
    guard context.paddingMask == nil else {
      throw LayerError.invalidArgument("paddingMask", was: "given", mustBe: "nil")
    }
    let kept = try cache.asKind(StateCache.self)
    let result = try minGRU(
      candidates: candidate(x), updateLogits: update(x), initialState: kept?.state,
      cumulativeLengths: context.cumulativeLengths)
    if let kept {
      cache = StateCache(
        tokenCount: kept.tokenCount + context.length, state: result.finalState.detached())
    }
    return try output(result.output)
  }

  func makeCache() -> any MixerCache { StateCache(tokenCount: 0, state: nil) }
}

struct StateCache: MixerCache {
  let tokenCount: Int
  let state: Tensor?
  var byteCount: Int { state?.byteCount ?? 0 }
}

struct GatedUnitConfiguration: MixerConfiguration {
  static let name = "gated_unit"
  static let summary = "A minimal gated recurrent unit."

  var expansion = 1

  enum CodingKeys: String, DocumentedKey {
    case expansion
    var meaning: String { "the state's width as a multiple of `hidden_size`" }
  }

  init() {}

  init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    expansion = try values.value(.expansion, default: expansion)
  }

  func validate(hidden: Int) throws {
    guard expansion >= 1, expansion <= 16 else {
      throw LayerError.invalidArgument("expansion", was: "\(expansion)", mustBe: "in 1...16")
    }
  }

  func makeMixer(hidden: Int, outputScale: Double, scope: ParameterScope) throws -> any TokenMixer {
    try GatedUnit(
      hidden: hidden, width: expansion * hidden, outputScale: outputScale, scope: scope)
  }
}

/// The program of Layers's article OwnMixer.
enum OwnMixer {
  static func run(folder: String) throws {
    let scope = ParameterScope(seed: 0)
    let mixer = try GatedUnit(hidden: 32, width: 64, scope: scope["mixer"])
    print(scope.parameters.paths)  // ["mixer.candidate_proj.weight", …]

    var random = Philox(seed: 1)
    let x = try Tensor.normal([2, 20, 32], using: &random)
    let whole = try mixer(x)
    print(whole.shape)  // [2, 20, 32]

    var cache: (any MixerCache)? = mixer.makeCache()
    var steps: [Tensor] = []
    for token in 0..<20 {
      let context = try TokenContext(batch: 2, length: 1, offset: token)
      steps.append(try mixer(x.sliced(1, token..<token + 1), context: context, cache: &cache))
    }
    let difference = try (Tensor.concatenated(steps, 1) - whole).absolute()
    print(try difference.elements(as: Float.self).max() ?? 0)  // close to 0

    let target = try Tensor.normal([2, 20, 32], using: &random)
    var parameters = scope.parameters
    var losses: [Double] = []
    for _ in 0..<20 {
      let tracked = parameters.tracked()
      let read = ParameterScope(tracked)
      let mixer = try GatedUnit(hidden: 32, width: 64, scope: read["mixer"])
      try read.requireAllUsed()
      let loss = try (mixer(x) - target).squared().mean()
      let gradients = try loss.gradients(of: tracked.tensors)
      losses.append(try loss.item())
      parameters = try parameters.replacing(
        zip(parameters.tensors, gradients).map { try $0 - $1 * 2 })
    }
    print(losses[0], losses[19])  // the second is smaller

    try MixerRegistry.shared.register(GatedUnitConfiguration.self)
    let configuration = try JSONValue(
      json5: """
        {
          hidden_size: 32,
          layers: [{ type: "gated_unit", expansion: 2 }, { type: "softmax", heads: 2 }],
        }
        """
    ).decoded(as: LanguageModelConfiguration.self)

    let drawn = ParameterScope(seed: 0)
    let model = try LanguageModel(configuration, scope: drawn)
    let tokens = try Tensor(ByteTokenizer().encode("func f"), [1, 6])
    print(try model(tokens).shape)  // [1, 6, 256]

    let saved = Checkpoint(configuration: configuration, parameters: drawn.parameters)
    try saved.write(to: folder)
    let loaded = try Checkpoint(folder: folder).model()

    try check(difference, losses)
    try check(model(tokens), loaded(tokens))
  }

  private static func check(_ written: Tensor, _ read: Tensor) throws {
    let (written, read) = (try written.elements(as: Float.self), try read.elements(as: Float.self))
    guard written == read else { throw ProgramError("the loaded model is another") }
  }

  private static func check(_ difference: Tensor, _ losses: [Double]) throws {
    let largest = try difference.elements(as: Float.self).max() ?? .infinity
    guard largest < 1e-5 else { throw ProgramError("token by token is off by \(largest)") }
    guard losses[19] < 0.95 * losses[0] else { throw ProgramError("nothing is learnt: \(losses)") }
  }
}
