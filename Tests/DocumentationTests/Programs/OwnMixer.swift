import SwiftAttention

struct GatedUnit: TokenMixer {
  private let candidate: Linear
  private let update: Linear
  private let output: Linear

  init(hidden: Int, scope: ParameterScope) throws {
    candidate = try Linear(inputs: hidden, outputs: hidden, scope: scope["candidate_proj"])
    update = try Linear(
      inputs: hidden, outputs: hidden, hasBias: true, scope: scope["update_proj"])
    output = try Linear(inputs: hidden, outputs: hidden, scope: scope["o_proj"])
  }

  func callAsFunction(
    _ x: Tensor, context: TokenContext, cache: inout (any MixerCache)?
  ) throws -> Tensor {
    guard context.paddingMask == nil else {
      throw LayerError.invalidArgument("paddingMask", was: "given", mustBe: "nil")
    }
    let kept = cache as? StateCache
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

/// The program of Layers's article OwnMixer.
enum OwnMixer {
  static func run() throws {
    let scope = ParameterScope(seed: 0)
    let mixer = try GatedUnit(hidden: 32, scope: scope["mixer"])
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
      let model = try GatedUnit(hidden: 32, scope: read["mixer"])
      try read.requireAllUsed()
      let loss = try (model(x) - target).squared().mean()
      let gradients = try loss.gradients(of: tracked.tensors)
      losses.append(try loss.item())
      parameters = try parameters.replacing(
        zip(parameters.tensors, gradients).map { try $0 - $1 * 2 })
    }
    print(losses[0], losses[19])  // the second is smaller

    try check(difference, losses)
  }

  private static func check(_ difference: Tensor, _ losses: [Double]) throws {
    let largest = try difference.elements(as: Float.self).max() ?? .infinity
    guard largest < 1e-5 else { throw ProgramError("token by token is off by \(largest)") }
    guard losses[19] < 0.95 * losses[0] else { throw ProgramError("nothing is learnt: \(losses)") }
  }
}
