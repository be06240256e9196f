import SwiftAttention
import Tensors

/// A minimal gated recurrent unit with candidates that are never negative:
///
///     h_t = (1 − σ(z_t)) ⊙ h_{t−1} + σ(z_t) ⊙ max(W x_t, 0)² ,  z = W_z x + b ,  y = Wₒ h
///
/// Parameters: `candidate_proj`, `update_proj`, `o_proj`.
public struct GatedUnit: TokenMixer {
  private let hidden: Int
  private let candidate: Linear
  private let update: Linear
  private let output: Linear

  /// - Parameters:
  ///   - hidden: how many numbers a token has.
  ///   - width: how many numbers the state has.
  ///   - outputScale: the standard deviation of an output for states of variance 1.
  ///   - scope: where the parameters come from.
  /// - Throws: `LayerError`.
  public init(hidden: Int, width: Int, outputScale: Double, scope: ParameterScope) throws {
    self.hidden = hidden
    candidate = try Linear(inputs: hidden, outputs: width, scope: scope["candidate_proj"])
    update = try Linear(
      inputs: hidden, outputs: width, hasBias: true, scope: scope["update_proj"])
    output = try Linear(
      inputs: width, outputs: hidden, scale: outputScale, scope: scope["o_proj"])
  }

  public func makeCache() -> any MixerCache { RecurrentCache() }

  public func callAsFunction(
    _ x: Tensor, context: TokenContext, cache: inout (any MixerCache)?
  ) throws -> Tensor {
    try validate(x, hidden: hidden, context: context, cache: cache)
    guard context.paddingMask == nil else {
      throw LayerError.invalidArgument("paddingMask", was: "given", mustBe: "nil")
    }
    var kept = try cache.asKind(RecurrentCache.self)
    let result = try minGRU(
      candidates: candidate(x).squaredReLU(), updateLogits: update(x),
      initialState: kept?.state, cumulativeLengths: context.cumulativeLengths)
    kept?.advance(by: context.length, to: result.finalState)
    cache = kept
    return try output(result.output)
  }
}
