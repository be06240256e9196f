import AttentionCUDA
import AttentionCUDAKernels
import AttentionTensors

/// How the kernels of linear attention cut a problem for a GPU: how many columns of the values a block
/// takes, and how much shared memory it needs for them.
struct LinearTile: Hashable, Sendable {
  enum Pass: Hashable, Sendable { case forward, backward }

  /// Tokens of a chunk, as in `linear/chunk.cuh`.
  static let chunk = 16
  /// Threads of a block.
  static let threads = 256
  static let threadsPerWarp = warp_threads
  /// The longest keys that the kernels are compiled for.
  static let largestKeyDimension = 256
  /// The fewest columns of a block.
  static let narrowest = 16

  /// The key dimension that the kernels are compiled for; nil if there is none as long.
  static func padded(_ keyDimension: Int) -> Int? {
    [32, 64, 128, largestKeyDimension].first { $0 >= keyDimension }
  }

  let pass: Pass
  let update: LinearProblem.Update
  /// The key dimension as the kernel has it, channels above the problem's being zero.
  let keys: Int
  /// Columns of the values that a block takes.
  let columns: Int
  /// Blocks that share the columns.
  let slices: Int

  /// The widest tile that a block's shared memory holds; nil if there is none.
  ///
  /// Forward, narrow slices make many blocks: 32 columns. Backward, every slice computes the gradients
  /// of queries and keys for its columns and writes them to memory: 64, if there are so many.
  init?(_ problem: LinearProblem, _ pass: Pass, sharedBytes: Int) {
    guard let keys = Self.padded(problem.keyDimension) else { return nil }
    let candidates = (pass == .forward ? [32, Self.narrowest] : [64, 32, Self.narrowest]).filter {
      $0 == Self.narrowest || $0 / 2 < problem.valueDimension
    }
    let fits = candidates.first {
      Self.sharedBytes(pass, problem.update, keys: keys, columns: $0) <= sharedBytes
    }
    guard let columns = fits else { return nil }
    self.pass = pass
    update = problem.update
    self.keys = keys
    self.columns = columns
    slices = problem.valueDimension.pieces(of: columns)
  }

  /// Shared memory of a block with the narrowest tile.
  static func leastSharedBytes(_ problem: LinearProblem, _ pass: Pass) -> Int {
    sharedBytes(
      pass, problem.update,
      keys: padded(problem.keyDimension) ?? largestKeyDimension,
      columns: narrowest)
  }

  var sharedBytes: Int { Self.sharedBytes(pass, update, keys: keys, columns: columns) }

  /// What the kernels take of shared memory, in their order.
  private static func sharedBytes(
    _ pass: Pass, _ update: LinearProblem.Update, keys: Int, columns: Int
  ) -> Int {
    let reads = update.isErasing ? 2 : 1
    let writes = update == .lowRank ? 2 : 1
    let columnPitch = columns + (columns % threadsPerWarp == 0 ? 4 : 1)
    let state = keys * columnPitch
    let rows = chunk * (keys + 4)
    let values = chunk * columnPitch
    let scores = reads * writes * chunk * chunk
    // Warps that share a result of 16 × columns, in pieces of 16 × 16: at most four a piece.
    let sharing = min(4, threads / threadsPerWarp / (columns / chunk))
    let shares = sharing * chunk * (columns + 4)
    var floats = state + (reads + writes + 1) * rows + 2 * keys + writes * values + scores + shares
    if pass == .backward {
      floats += state + reads * values + (reads + writes) * rows + scores + keys
    }
    return floats * MemoryLayout<Float>.size
  }

  /// The macros of the kernel.
  var definitions: [String] {
    ["UPDATE=\(update.kernelNumber)", "KEYS=\(keys)", "COLUMNS=\(columns)"]
  }
}

/// How `linear/step.cu`, which goes token by token, cuts a problem.
struct LinearStepTile: Hashable, Sendable {
  /// Threads of a block, and columns of the values that it takes.
  static let threads = 256
  static let columns = 32

  /// The key dimension as the kernel has it.
  let keys: Int
  /// Blocks that share the columns.
  let slices: Int

  /// nil if the keys are too long.
  init?(_ problem: LinearProblem) {
    guard let keys = LinearTile.padded(problem.keyDimension) else { return nil }
    self.keys = keys
    slices = problem.valueDimension.pieces(of: Self.columns)
  }

  var sharedBytes: Int {
    let rows = 6
    return (rows * keys + 2 * Self.threads) * MemoryLayout<Float>.size
  }
}

extension LinearProblem.Update {
  /// As the kernels number updates.
  var kernelNumber: Int32 {
    switch self {
    case .additive, .additiveBefore: 0
    case .delta, .generalizedDelta: 1
    case .lowRank: 2
    }
  }
}
