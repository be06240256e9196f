import CPUKernels
import Tensors

/// Reads the tokens of a call as the float32 kernels compute with them: widened, queries multiplied
/// by the scale, queries and keys normalised where the call asks for it, decays as factors.
struct RecurrenceReader: Sendable {
  /// Tokens of one row of the batch and one value head.
  struct Piece {
    let row: Int
    let head: Int
    let queryHead: Int
    let tokens: Range<Int>

    var count: Int { tokens.count }
  }

  /// Numbers a row of queries or keys, and of values.
  let keyDimension: Int
  let valueDimension: Int
  /// Decay factors a token: 0 without decay, 1 or ``keyDimension``.
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

  private var epsilon: Float { Float(LinearCall.normalizationEpsilon / Double(keyDimension)) }

  /// Scaled queries [tokens, k]. Where they are normalised, `raw` [tokens, k] keeps what was read
  /// and `norms` [tokens] the reciprocal norms, for the gradient.
  func loadQueries(
    _ piece: Piece, to target: UnsafeMutablePointer<Float>, raw: UnsafeMutablePointer<Float>,
    norms: UnsafeMutablePointer<Float>
  ) {
    queries.load(
      row: piece.row, tokens: piece.tokens, head: piece.queryHead, to: normalizes ? raw : target)
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

  /// Values [tokens, v].
  func loadValues(_ piece: Piece, to target: UnsafeMutablePointer<Float>) {
    values.load(row: piece.row, tokens: piece.tokens, head: piece.head, to: target)
  }

  /// Decay factors e^g [tokens, ``decayWidth``]; nothing without decay.
  func loadDecay(_ piece: Piece, to target: UnsafeMutablePointer<Float>) {
    guard let decay else { return }
    decay.load(row: piece.row, tokens: piece.tokens, head: piece.head, to: target)
    kernels.unary_f32(CPU_EXP, piece.count * decayWidth, target, target)
  }
}
