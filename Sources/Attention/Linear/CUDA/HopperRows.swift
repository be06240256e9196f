import AttentionCUDA
import AttentionCUDAKernels
import AttentionTensors

/// Of the two rows of a token with a low-rank update (`linear/low_rank.cuh`), those that a tensor holds; the other
/// row of each token is zero.
enum LowRankRows: Int32 {
  /// Both, [b, 2 t, heads, d].
  case all = 0
  /// The first, [b, t, heads, d].
  case first = 1
  /// The second, [b, t, heads, d].
  case second = 2
}

extension LowRankRows {
  /// The first or second rows [b, t, heads, d] of all, a view.
  func of(_ all: Tensor) throws -> Tensor {
    let shape = all.shape
    let row = self == .first ? 0 : 1
    return try all.reshaped([shape[0], shape[1] / 2, 2, shape[2], shape[3]])
      .sliced(2, row..<row + 1).reshaped([shape[0], shape[1] / 2, shape[2], shape[3]])
  }
}

/// A tensor whose rows passes copy by TMA, a chunk of rows of a head at a time.
struct HopperRows {
  let tensor: Tensor
  /// All except with low-rank updates.
  let held: LowRankRows
  private let rows: DeviceRows
  private let isLowRank: Bool

  /// - Parameter tensor: [b, t, heads, d], half precision, or of ``LowRankRows``.
  init(_ tensor: Tensor, _ plan: HopperPlan, _ held: LowRankRows = .all) throws {
    self.tensor = tensor
    self.held = held
    isLowRank = plan.isLowRank
    guard isLowRank else {
      rows = try DeviceRows(tensor, paddedTo: tensor.shape[3])
      return
    }
    // The axes of a token's rows and of its heads' columns.
    let width = tensor.shape[2] * tensor.shape[3]
    let shape: Shape = [tensor.shape[0], plan.source.problem.length, held == .all ? 2 : 1, width]
    rows = try DeviceRows(tensor.reshaped(shape), paddedTo: width)
  }

  /// The map of boxes of a chunk.
  func map(on device: CUDADevice) throws -> TensorMap {
    let perToken = isLowRank ? 2 : 1
    return try rows.map(rows: HopperTile.chunk / perToken, heads: perToken, on: device)
  }
}

extension LinearArguments {
  /// The call whose tokens are the rows of the kernels for Hopper: of low-rank updates two per token; otherwise the
  /// call itself. The tensors stay those of tokens.
  var inRows: LinearArguments {
    guard problem.update == .lowRank else { return self }
    let bounds = [0] + sequences.map { 2 * $0.tokens.upperBound }
    let rows = problem.inRows
    return LinearArguments(
      problem: rows, queries: queries, keys: keys, values: values, decay: decay, update: update,
      initialState: initialState, scale: scale,
      sequences: problem.isPacked
        ? TokenSequences(packed: bounds) : TokenSequences(rows: rows.batch, length: rows.length),
      destinations: destinations, wantsDecayGradient: wantsDecayGradient)
  }
}

extension LinearProblem {
  /// The problem of ``LinearArguments/inRows``.
  var inRows: LinearProblem {
    guard update == .lowRank else { return self }
    var result = self
    result.tokens = RecurrenceTokens(
      batch: batch, length: 2 * length, sequences: sequences, isPacked: isPacked, dtype: dtype,
      hasInitialState: hasInitialState, needsGradient: needsGradient, device: device)
    return result
  }
}
