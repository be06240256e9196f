import AttentionCPUKernels
import AttentionTensors

/// What the memory and the work of a chunk depend on.
///
/// Of each token, rows x read the state and rows z are written into it:
///
///     u = source + what r finds ,   S = D S₋ + Σ over writes of z uᵀ ,   o = what q finds
///
///     additive     reads q ;      writes k with u = v
///     erasing      reads q, r ;   writes k with u, r = −βk and source = βv, or r = −y and source = v
///     low rank     reads q, r ;   writes b with u, and k with v; r = a, no source
struct ChunkShape: Sendable {
  /// Numbers in a row of keys, and of values.
  let k: Int
  private(set) var v: Int
  /// Numbers of the decay per token: 0, 1 or k.
  let decayWidth: Int
  let update: LinearProblem.Update
  let normalizes: Bool
  /// Whether operands are rounded to bfloat16 and multiplied in pairs, at twice the rate. Sums stay
  /// float32.
  let roundsOperands: Bool
  /// Whether values are read; the state without them is what a piece of a sequence does to it.
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
  /// Whether u is written beside k vᵀ and not in its place.
  var isLowRank: Bool { update == .lowRank }
  /// Whether a token writes its values as they are.
  var writesValues: Bool { readsValues && (!erases || isLowRank) }

  /// When queries and r read.
  var reads: [ChunkScores.Moment] {
    erases ? [.afterWrite, isLowRank ? .beforeDecay : .afterDecay] : [.afterWrite]
  }
  /// How many rows are written.
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
  /// Operations per token that take a state of `columns` over a chunk. Of the tokens of a chunk one sees half.
  func operations(advancing columns: Int) -> Int {
    let solved = reads.count - 1
    return 2 * k * columns * (solved + writes)
      + ChunkScores.length * solved * writes * (k + columns)
  }

  /// Operations per token that take the gradient of a state over a chunk.
  var retreatOperations: Int {
    let solved = reads.count - 1
    return 2 * k * v * (reads.count + solved)
      + ChunkScores.length * solved * (reads.count * writes * k + 2 * v)
  }

  /// Operations per token of the forward pass, and of the backward pass behind it if it `needsGradient`.
  func operations(needsGradient: Bool) -> Int {
    let (r, w, length) = (reads.count, writes, ChunkScores.length)
    let forward = 2 * k * v * (r + w) + length * r * w * (k + v)
    guard needsGradient else { return forward }
    return forward + operations(advancing: v) + 2 * k * v * (2 * r + 2 * w)
      + length * r * w * (3 * k + 2 * v)
  }
}
