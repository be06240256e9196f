import CPUKernels
import Tensors

/// Reads the tokens of a call as the float32 kernels compute with them: widened, queries multiplied
/// by the scale, queries and keys normalised where the call asks for it, decays as logarithms.
final class RecurrenceReader: Sendable {
  /// Tokens of one row of the batch and one value head.
  struct Piece {
    let row: Int
    let head: Int
    let queryHead: Int
    let tokens: Range<Int>
    /// The tokens whose queries read the states behind ``tokens``: the same, or where a query reads
    /// the state before its token the ones after them, as far as the sequence goes.
    let reading: Range<Int>

    var count: Int { tokens.count }
  }

  /// Numbers a row of queries or keys, and of values.
  let keyDimension: Int
  let valueDimension: Int
  /// Decays a token: 0 without decay, 1 or ``keyDimension``.
  let decayWidth: Int
  let normalizes: Bool

  private let kernels: cpu_kernels
  private let scale: Float
  private let queries: TokenRows
  private let keys: TokenRows
  private let values: TokenRows
  private let decay: TokenRows?
  /// scale/√k and 1/√k, k times each. x / √(Σ x² + ε) is the root-mean-square norm of x with the
  /// weight 1/√k and ε/k for ε, and computed as that.
  private let weights: Scratch

  init(_ call: LinearCall, _ kernels: cpu_kernels) throws {
    self.kernels = kernels
    keyDimension = call.problem.keyDimension
    valueDimension = call.problem.valueDimension
    decayWidth = call.decay?.shape[3] ?? 0
    normalizes = call.problem.normalizesQueriesAndKeys
    scale = Float(call.scale)
    queries = try TokenRows(call.queries, kernels)
    keys = try TokenRows(call.keys, kernels)
    values = try TokenRows(call.values, kernels)
    decay = try call.decay.map { try TokenRows($0, kernels) }
    weights = try Scratch(floats: 2 * keyDimension)
    let root = Double(keyDimension).squareRoot()
    weights.base.update(repeating: Float(call.scale / root), count: keyDimension)
    (weights.base + keyDimension).update(repeating: Float(1 / root), count: keyDimension)
  }

  /// Whether each channel of the key has its own decay.
  var decayIsByChannel: Bool { decayWidth > 1 }

  private var epsilon: Float { Float(LinearCall.normalizationEpsilon / Double(keyDimension)) }

  /// Scaled queries [tokens, k], zero where the piece reads fewer tokens than it has. Where they are
  /// normalised, `raw` [tokens, k] keeps what was read and `norms` [tokens] the reciprocal norms, for
  /// the gradient.
  func loadQueries(
    _ piece: Piece, to target: UnsafeMutablePointer<Float>, raw: UnsafeMutablePointer<Float>,
    norms: UnsafeMutablePointer<Float>
  ) {
    queries.load(
      row: piece.row, tokens: piece.reading, head: piece.queryHead, count: piece.count,
      to: normalizes ? raw : target)
    if normalizes {
      kernels.rms_norm(
        piece.count, keyDimension, raw, weights.base, epsilon, target, norms)
    } else {
      kernels.scale(piece.count * keyDimension, scale, target)
    }
  }

  /// Keys [tokens, k]; `raw` and `norms` as for queries.
  func loadKeys(
    _ piece: Piece, to target: UnsafeMutablePointer<Float>, raw: UnsafeMutablePointer<Float>,
    norms: UnsafeMutablePointer<Float>
  ) {
    keys.load(
      row: piece.row, tokens: piece.tokens, head: piece.queryHead, to: normalizes ? raw : target)
    if normalizes {
      kernels.rms_norm(
        piece.count, keyDimension, raw, weights.base + keyDimension, epsilon, target, norms)
    }
  }

  /// Starts to bring a piece near that will be loaded after the one at work: its rows lie apart by
  /// all heads, a pattern that processors do not foresee.
  func prefetch(_ piece: Piece) {
    let (row, tokens) = (piece.row, piece.tokens)
    queries.prefetch(row: row, tokens: piece.reading, head: piece.queryHead)
    keys.prefetch(row: row, tokens: tokens, head: piece.queryHead)
    values.prefetch(row: row, tokens: tokens, head: piece.head)
    decay?.prefetch(row: row, tokens: tokens, head: piece.head)
  }

  /// Values [tokens, v].
  func loadValues(_ piece: Piece, to target: UnsafeMutablePointer<Float>) {
    values.load(row: piece.row, tokens: piece.tokens, head: piece.head, to: target)
  }

  /// Logarithms of the decay [tokens, ``decayWidth``]; nothing without decay.
  func loadDecay(_ piece: Piece, to target: UnsafeMutablePointer<Float>) {
    decay?.load(row: piece.row, tokens: piece.tokens, head: piece.head, to: target)
  }
}

extension RecurrenceReader {
  /// Turns gradients of what was loaded into gradients of what was read, in place.
  ///
  /// - Parameters:
  ///   - queryGradient: [tokens, k]
  ///   - keyGradient: [tokens, k]
  ///   - scratch: room for [tokens + 1, k].
  func backward(
    _ count: Int, _ tokens: ChunkTokens, queryGradient: UnsafeMutablePointer<Float>,
    keyGradient: UnsafeMutablePointer<Float>, scratch: UnsafeMutablePointer<Float>
  ) {
    guard normalizes else { return kernels.scale(count * keyDimension, scale, queryGradient) }
    // The weights are constants: what the loop adds up for them is not used.
    let weightGradient = scratch + count * keyDimension
    weightGradient.update(repeating: 0, count: keyDimension)
    for (gradient, raw, norms, weights) in [
      (queryGradient, tokens.rawQueries, tokens.queryNorms, weights.base),
      (keyGradient, tokens.rawKeys, tokens.keyNorms, weights.base + keyDimension),
    ] {
      kernels.rms_norm_backward(
        count, keyDimension, raw, weights, norms, gradient, scratch, weightGradient)
      gradient.update(from: scratch, count: count * keyDimension)
    }
  }
}

/// The tokens of one chunk in float32.
final class ChunkTokens {
  let reader: RecurrenceReader
  private let scratch: Scratch
  /// [chunk, k] each: scaled queries and keys, and what they were before normalisation where the
  /// call asks for it.
  let queries, keys, rawQueries, rawKeys: UnsafeMutablePointer<Float>
  /// [chunk, v]
  let values: UnsafeMutablePointer<Float>
  /// [chunk, 1 or k]: logarithms of the decay, zeros without decay.
  let decay: UnsafeMutablePointer<Float>
  /// [chunk] each: the reciprocal norms.
  let queryNorms, keyNorms: UnsafeMutablePointer<Float>

  /// Floats of a chunk of `length` tokens.
  static func size(_ length: Int, keyDimension: Int, valueDimension: Int) -> Int {
    length * (5 * keyDimension + valueDimension + 2)
  }

  init(_ reader: RecurrenceReader, length: Int) throws {
    self.reader = reader
    let (k, v) = (reader.keyDimension, reader.valueDimension)
    scratch = try Scratch(floats: Self.size(length, keyDimension: k, valueDimension: v))
    queries = scratch.base
    keys = queries + length * k
    rawQueries = keys + length * k
    rawKeys = rawQueries + length * k
    decay = rawKeys + length * k
    values = decay + length * k
    queryNorms = values + length * v
    keyNorms = queryNorms + length
    decay.update(repeating: 0, count: length * k)
  }

  func loadQueries(_ piece: RecurrenceReader.Piece) {
    reader.loadQueries(piece, to: queries, raw: rawQueries, norms: queryNorms)
  }

  func loadDecay(_ piece: RecurrenceReader.Piece) { reader.loadDecay(piece, to: decay) }

  /// Keys, values and decay: all that changes the state.
  func loadWrites(_ piece: RecurrenceReader.Piece) {
    reader.loadKeys(piece, to: keys, raw: rawKeys, norms: keyNorms)
    reader.loadValues(piece, to: values)
    loadDecay(piece)
  }
}
