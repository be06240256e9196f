import AttentionTensors

/// A mixer that keeps states of constant size: it says what it computes from a ``TokenStream``, and gets
/// validation, caches and streaming from this protocol.
///
///     struct Average: RecurrentMixer {
///       let hidden: Int
///       let value: Linear
///
///       func mixed(_ x: Tensor, _ stream: inout TokenStream) throws -> Tensor {
///         let inputs = try stream.withoutPadding(value(x))
///         …
///       }
///     }
public protocol RecurrentMixer: TokenMixer {
  /// The hidden size.
  var hidden: Int { get }

  /// Mixes all tokens of `x`, [batch, length, hidden], which follow those whose states `stream` holds, and
  /// leaves the states after them in `stream`.
  func mixed(_ x: Tensor, _ stream: inout TokenStream) throws -> Tensor
}

extension RecurrentMixer {
  public func makeCache() -> any MixerCache { RecurrentCache() }

  public func callAsFunction(
    _ x: Tensor, context: TokenContext, cache: inout (any MixerCache)?
  ) throws -> Tensor {
    try validate(x, hidden: hidden, context: context, cache: cache)
    var kept = try cache.asKind(RecurrentCache.self)
    var stream = TokenStream(context: context, states: kept?.states ?? [:])
    let output = try mixed(x, &stream)
    kept?.advance(by: context.length, to: stream.states)
    cache = kept
    return output
  }

  /// Mixes with the states of all sequences as those of one batch.
  public func mixTogether(
    _ x: Tensor, _ sequences: SequenceBatch, caches: inout [(any MixerCache)?]
  ) throws -> Tensor {
    guard !sequences.isOneSequence else { return try mixEach(x, sequences, caches: &caches) }
    let kept = try caches.map { try $0.asKind(RecurrentCache.self) ?? RecurrentCache() }
    let first = kept[0].states
    let isAlike = kept.allSatisfy { cache in
      cache.states.count == first.count
        && cache.states.allSatisfy {
          $1.shape == first[$0]?.shape && $1.shape.rank > 0 && $1.shape[0] == 1
        }
    }
    // Before its first token a sequence has no states.
    guard kept.count > 1, isAlike else { return try mixEach(x, sequences, caches: &caches) }
    for (cache, context) in zip(kept, sequences.each) {
      try validate(
        x.sliced(0, 0..<1), hidden: hidden, context: context, cache: cache)
    }
    var states: [String: Tensor] = [:]
    for name in first.keys {
      states[name] = try .concatenated(kept.compactMap { $0.states[name] }, 0)
    }
    var stream = TokenStream(context: sequences.all, states: states)
    let output = try mixed(x, &stream)
    caches = try kept.enumerated().map { index, cache in
      var cache = cache
      cache.advance(
        by: 1, to: try stream.states.mapValues { try $0.sliced(0, index..<index + 1) })
      return cache
    }
    return output
  }
}

/// The tokens of one call of a ``RecurrentMixer``: their context, and the states that the tokens before them
/// have left, each under a name.
public struct TokenStream: Sendable {
  public let context: TokenContext
  /// What earlier tokens have left, and later ones continue from; empty before the first token.
  public var states: [String: Tensor]

  /// Where packed sequences begin, and where the last ends.
  public var cumulativeLengths: Tensor? { context.cumulativeLengths }

  /// `x`, [batch, length, …], with zeros where ``context`` marks padding: a key, value, or step of zero writes
  /// nothing into a state, and a log-decay of zero keeps it.
  public func withoutPadding(_ x: Tensor) throws -> Tensor { try context.padding(x, with: 0) }

  /// `x`, [batch, length, channels], convolved by a layer whose state has a name; without the layer, its
  /// silu if `appliesSiLU`.
  public mutating func convolved(
    _ x: Tensor, by convolution: ShortConvolution?, _ name: String, appliesSiLU: Bool
  ) throws -> Tensor {
    guard let convolution else { return appliesSiLU ? try x.silu() : x }
    return try convolution(x, context: context, state: &states[name])
  }
}

extension TokenContext {
  /// `x`, [batch, length, …], with `number` where the tokens are padding.
  func padding(_ x: Tensor, with number: Double) throws -> Tensor {
    guard var mask = paddingMask else { return x }
    for _ in 2..<max(2, x.rank) { mask = try mask.unsqueezed(-1) }
    return try .select(mask, x, .full([], number, dtype: x.dtype))
  }
}

extension TokenContext {
  /// The last `count` tokens of each sequence, padding apart.
  ///
  /// - Parameters:
  ///   - rows: `[batch, count + length, channels]`: the last tokens before the call, then those of the call.
  ///   - count: how many there are before the call.
  /// - Returns: `[batch, count, channels]`.
  func lastTokens(of rows: Tensor, count: Int) throws -> Tensor {
    guard let paddingMask else { return try rows.sliced(1, length..<length + count) }
    let isToken = try paddingMask.elements(as: Bool.self)
    let indices = (0..<batch).flatMap { row -> [Int32] in
      let tokens = (0..<length).filter { isToken[row * length + $0] }.map { count + $0 }
      return (Array(0..<count) + tokens).suffix(count).map { Int32(row * (count + length) + $0) }
    }
    return try rows.reshaped([batch * (count + length), rows.shape[2]])
      .gatheringRows(Tensor(indices, [batch, count]))
  }
}
