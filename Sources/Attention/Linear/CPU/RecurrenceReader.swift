import AttentionCPUKernels
import AttentionTensors

/// Reads the tokens of a call for float32 kernels: widened, queries multiplied by the scale, queries and
/// keys normalised if the call requires it, decays as logarithms.
final class RecurrenceReader: Sendable {
  /// Tokens of one row of the batch and one value head.
  struct Piece {
    let row: Int
    let head: Int
    let queryHead: Int
    let tokens: Range<Int>
    /// The tokens whose queries read the states after ``tokens``: the same ones or, if queries read the
    /// state before their token, the next ones within the sequence.
    let reading: Range<Int>

    var count: Int { tokens.count }
  }

  let keyDimension: Int
  let valueDimension: Int
  let normalizes: Bool

  private let kernels: cpu_kernels
  private let scale: Float
  let queries: TokenRows
  let keys: TokenRows
  let values: TokenRows
  let decay: TokenRows?
  /// The tensors of an erasing update: β, read keys, or a and b.
  let update: [TokenRows]
  /// scale/√k and 1/√k, k times each. x / √(Σ x² + ε) is the root-mean-square norm of x with the
  /// weight 1/√k and ε/k for ε, and computed as that.
  private let weights: Scratch

  init(_ call: LinearArguments, _ kernels: cpu_kernels) throws {
    self.kernels = kernels
    keyDimension = call.problem.keyDimension
    valueDimension = call.problem.valueDimension
    normalizes = call.problem.normalizesQueriesAndKeys
    scale = Float(call.scale)
    queries = try TokenRows(call.queries, kernels)
    keys = try TokenRows(call.keys, kernels)
    values = try TokenRows(call.values, kernels)
    decay = try call.decay.map { try TokenRows($0, kernels) }
    update =
      call.problem.update.isErasing
      ? try call.update.tensors.map { try TokenRows($0, kernels) } : []
    weights = try Scratch(floats: 2 * keyDimension)
    let root = Double(keyDimension).squareRoot()
    weights.base.update(repeating: Float(call.scale / root), count: keyDimension)
    (weights.base + keyDimension).update(repeating: Float(1 / root), count: keyDimension)
  }

  private var epsilon: Float { Float(LinearArguments.normalizationEpsilon / Double(keyDimension)) }

  /// The factor that queries are multiplied by when they are read.
  var queryFactor: Float { normalizes ? 1 : scale }

  /// Normalises and scales `raw` queries [count, k]; `norms` [count] receives their inverse norms.
  func normalizeQueries(
    _ count: Int, _ raw: UnsafePointer<Float>, to target: UnsafeMutablePointer<Float>,
    norms: UnsafeMutablePointer<Float>
  ) {
    kernels.rms_norm(count, keyDimension, raw, weights.base, epsilon, target, norms)
  }

  /// The same for keys, without the scale.
  func normalizeKeys(
    _ count: Int, _ raw: UnsafePointer<Float>, to target: UnsafeMutablePointer<Float>,
    norms: UnsafeMutablePointer<Float>
  ) {
    kernels.rms_norm(
      count, keyDimension, raw, weights.base + keyDimension, epsilon, target, norms)
  }
}

extension RecurrenceReader {
  /// Backpropagates gradients of queries and keys through scale and normalisation, in place.
  ///
  /// - Parameters:
  ///   - queryGradient: `[tokens, k]`
  ///   - keyGradient: `[tokens, k]`
  ///   - scratch: `[tokens + 1, k]`
  func backward(
    _ count: Int, _ tokens: ChunkTokens, queryGradient: UnsafeMutablePointer<Float>,
    keyGradient: UnsafeMutablePointer<Float>, scratch: UnsafeMutablePointer<Float>
  ) {
    guard normalizes else { return kernels.scale(count * keyDimension, scale, queryGradient) }
    // The weights are constants: their gradient is discarded.
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
