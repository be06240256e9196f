import AttentionCPUKernels
import AttentionTensors

/// The properties of a problem that determine the memory and the work of a chunk.
///
/// For each token, rows x read the state and rows z are written into it:
///
///     u = source + what r finds ,   S = D S₋ + Σ over writes of z uᵀ ,   o = what q finds
///
///     additive     reads q ;      writes k with u = v
///     erasing      reads q, r ;   writes k with u, r = −βk and source = βv, or r = −y and source = v
///     low rank     reads q, r ;   writes b with u, and k with v; r = a, no source
struct ChunkShape: Sendable {
  /// The dimension of keys, and of values.
  let k: Int
  private(set) var v: Int
  /// Elements of the decay per token: 0, 1 or k.
  let decayWidth: Int
  let update: LinearProblem.Update
  let normalizes: Bool
  /// Whether operands are rounded to bfloat16 and multiplied in pairs, at twice the rate. Sums are
  /// float32.
  let roundsOperands: Bool
  /// Whether values are read; without them the state becomes the map of a piece of a sequence.
  private(set) var readsValues = true
  let kernels: cpu_kernels

  init(_ problem: LinearProblem, kernels: cpu_kernels = InstructionSet.current.kernels) {
    (k, v) = (problem.keyDimension, problem.valueDimension)
    decayWidth =
      switch problem.decay {
      case .none: 0
      case .perHead, .perToken: 1
      case .perChannel: k
      }
    update = problem.update
    normalizes = problem.normalizesQueriesAndKeys
    self.kernels = kernels
    roundsOperands = problem.dtype == .bfloat16 && kernels.has_bf16 != 0
  }

  /// Columns of a panel.
  var tile: Int { kernels.tile_columns }

  /// Whether what is written is solved from what r finds.
  var erases: Bool { update.isErasing }
  /// Whether u is written in addition to k vᵀ, not in its place.
  var isLowRank: Bool { update == .lowRank }
  /// Whether a token writes its values unchanged.
  var writesValues: Bool { readsValues && (!erases || isLowRank) }

  /// When in a token queries and r read.
  var reads: [ChunkScores.Moment] {
    erases ? [.afterWrite, isLowRank ? .beforeDecay : .afterDecay] : [.afterWrite]
  }
  /// The number of rows written per token.
  var writes: Int { isLowRank ? 2 : 1 }

  /// The shape of a state with a column for each row, without values.
  var ofMap: ChunkShape {
    var copy = self
    copy.v = k
    copy.readsValues = false
    return copy
  }
}

extension ChunkShape {
  /// Operations per token that advance a state of `columns` over a chunk. On average a token reads
  /// half of its chunk.
  func operations(advancing columns: Int) -> Int {
    let solved = reads.count - 1
    return 2 * k * columns * (solved + writes)
      + ChunkScores.length * solved * writes * (k + columns)
  }

  /// Operations per token that propagate the gradient of a state back over a chunk.
  var retreatOperations: Int {
    let solved = reads.count - 1
    return 2 * k * v * (reads.count + solved)
      + ChunkScores.length * solved * (reads.count * writes * k + 2 * v)
  }

  /// Operations per token of the forward pass and, if `needsGradient`, of the backward pass.
  func operations(needsGradient: Bool) -> Int {
    let (r, w, length) = (reads.count, writes, ChunkScores.length)
    let forward = 2 * k * v * (r + w) + length * r * w * (k + v)
    guard needsGradient else { return forward }
    return forward + operations(advancing: v) + 2 * k * v * (2 * r + 2 * w)
      + length * r * w * (3 * k + 2 * v)
  }
}
