import AttentionTensors

/// A causal layer that mixes each token of a sequence with earlier ones: [batch, length, hidden] →
/// [batch, length, hidden].
public protocol TokenMixer: Sendable {
  /// Mixes all tokens of `x`, which follow those in `cache`.
  ///
  /// - Parameters:
  ///   - x: `[batch, length, hidden]`.
  ///   - context: of the same batch and length.
  ///   - cache: what is kept of earlier tokens, from ``makeCache()``; the call adds the new tokens.
  ///     Nil for whole sequences. No gradient flows into a cache, so `x` must not be tracked when
  ///     one is given.
  /// - Throws: ``LayerError``, or what the operator throws.
  func callAsFunction(_ x: Tensor, context: TokenContext, cache: inout (any MixerCache)?) throws
    -> Tensor

  /// A cache before the first token.
  func makeCache() -> any MixerCache

  /// Mixes one token of each of several sequences, with the bits that each would have alone.
  ///
  /// The default mixes them one after the other.
  ///
  /// - Parameters:
  ///   - x: `[sequences, 1, hidden]`.
  ///   - sequences: how far each has come.
  ///   - caches: one for each sequence, to which its token is added.
  /// - Throws: ``LayerError``, or what the operator throws.
  func mixTogether(
    _ x: Tensor, _ sequences: SequenceBatch, caches: inout [(any MixerCache)?]
  ) throws -> Tensor
}

extension TokenMixer {
  /// Mixes whole sequences; without `context`, each batch entry is one sequence from its start.
  public func callAsFunction(_ x: Tensor, context: TokenContext? = nil) throws -> Tensor {
    guard x.rank == 3 else {
      throw LayerError.invalidArgument("x", was: "\(x.shape)", mustBe: "[batch, length, hidden]")
    }
    var none: (any MixerCache)?
    let context =
      try context ?? TokenContext(batch: x.shape[0], length: x.shape[1], device: x.device)
    return try self(x, context: context, cache: &none)
  }

  /// Checks what every mixer requires: `x` has the context's batch and length. With a cache, `x` is
  /// untracked, its sequences are not packed, and the cache has read as many tokens as the context says came
  /// before.
  ///
  /// - Parameters:
  ///   - x: must be `[batch, length, hidden]`.
  ///   - hidden: the hidden size.
  ///   - context: of the call.
  ///   - cache: of the call, or nil.
  /// - Throws: ``LayerError/invalidArgument(_:was:mustBe:)``.
  public func validate(
    _ x: Tensor, hidden: Int, context: TokenContext, cache: (any MixerCache)?
  ) throws {
    guard x.shape == [context.batch, context.length, hidden] else {
      throw LayerError.invalidArgument(
        "x", was: "\(x.shape)", mustBe: "[\(context.batch), \(context.length), \(hidden)]")
    }
    guard let cache else {
      guard context.offset == 0 else {
        throw LayerError.invalidArgument(
          "cache", was: "nil", mustBe: "given where \(context.offset) tokens came before")
      }
      return
    }
    guard !x.isTracked else {
      throw LayerError.invalidArgument(
        "x", was: "tracked", mustBe: "detached where a cache is given")
    }
    guard context.cumulativeLengths == nil else {
      throw LayerError.invalidArgument(
        "cumulativeLengths", was: "given with a cache", mustBe: "nil")
    }
    guard cache.tokenCount == context.offset else {
      throw LayerError.invalidArgument(
        "cache", was: "of \(cache.tokenCount) tokens", mustBe: "of \(context.offset) tokens")
    }
  }
}

/// What a mixer keeps of the tokens it has read, so that the next token costs little.
///
/// A cache is a value: a copy is an independent continuation.
public protocol MixerCache: Sendable {
  /// How many tokens have been read.
  var tokenCount: Int { get }
  /// The memory it takes.
  var byteCount: Int { get }
}

extension Optional where Wrapped == any MixerCache {
  /// The cache as the type that a mixer uses; nil where there is none.
  ///
  /// - Throws: ``LayerError/invalidArgument(_:was:mustBe:)`` if it has a different type.
  public func asKind<Cache: MixerCache>(_ kind: Cache.Type) throws -> Cache? {
    guard let self else { return nil }
    guard let cache = self as? Cache else {
      throw LayerError.invalidArgument("cache", was: "\(type(of: self))", mustBe: "\(kind)")
    }
    return cache
  }
}
