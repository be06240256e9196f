import AttentionTensors

/// A layer in which tokens of a sequence learn from earlier ones: [batch, length, hidden] →
/// [batch, length, hidden], causal.
public protocol TokenMixer: Sendable {
  /// Mixes all tokens of `x`, which follow those that `cache` remembers.
  ///
  /// - Parameters:
  ///   - x: `[batch, length, hidden]`.
  ///   - context: of the same batch and length.
  ///   - cache: what is kept of earlier tokens, from ``makeCache()``; afterwards the new tokens are
  ///     in it. Nil where a call has whole sequences. Gradients do not reach into a cache, so with
  ///     one `x` must not be tracked.
  /// - Throws: ``LayerError``, or what the operator throws.
  func callAsFunction(_ x: Tensor, context: TokenContext, cache: inout (any MixerCache)?) throws
    -> Tensor

  /// A cache before the first token.
  func makeCache() -> any MixerCache
}

extension TokenMixer {
  /// Mixes whole sequences: without `context`, one of each batch entry that nothing precedes.
  public func callAsFunction(_ x: Tensor, context: TokenContext? = nil) throws -> Tensor {
    guard x.rank == 3 else {
      throw LayerError.invalidArgument("x", was: "\(x.shape)", mustBe: "[batch, length, hidden]")
    }
    var none: (any MixerCache)?
    let context =
      try context ?? TokenContext(batch: x.shape[0], length: x.shape[1], device: x.device)
    return try self(x, context: context, cache: &none)
  }

  /// Checks what every mixer asks of its arguments: `x` of the context's batch and length, and with a cache
  /// an untracked `x` in sequences that are not packed, of which the cache has seen as many tokens as the
  /// context says.
  ///
  /// - Parameters:
  ///   - x: must be `[batch, length, hidden]`.
  ///   - hidden: how many numbers a token has.
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

/// What a mixer remembers of the tokens it has seen, so that the next token costs little.
///
/// A cache is a value: a copy is an independent continuation.
public protocol MixerCache: Sendable {
  /// How many tokens have been seen.
  var tokenCount: Int { get }
  /// The memory it takes.
  var byteCount: Int { get }
}

extension Optional where Wrapped == any MixerCache {
  /// The cache as the kind that a mixer keeps; nil where there is none.
  ///
  /// - Throws: ``LayerError/invalidArgument(_:was:mustBe:)`` if it is of another kind.
  public func asKind<Cache: MixerCache>(_ kind: Cache.Type) throws -> Cache? {
    guard let self else { return nil }
    guard let cache = self as? Cache else {
      throw LayerError.invalidArgument("cache", was: "\(type(of: self))", mustBe: "\(kind)")
    }
    return cache
  }
}
