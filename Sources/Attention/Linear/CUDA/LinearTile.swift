import AttentionCUDA
import AttentionCUDAKernels
import AttentionTensors

/// How the kernels of linear attention divide a problem on a GPU: the columns of the values per block, and
/// the shared memory that they need.
struct LinearTile: Hashable, Sendable {
  enum Pass: Hashable, Sendable { case forward, backward }

  /// Tokens of a chunk.
  static let chunk = linear_chunk_tokens
  /// Threads of a block.
  static let threads = linear_threads
  /// The largest key dimension that the kernels are compiled for.
  static let largestKeyDimension = 256
  /// The fewest columns of a block.
  static let narrowest = 16

  /// The smallest sufficient key dimension that the kernels are compiled for; nil if none is.
  static func padded(_ keyDimension: Int) -> Int? {
    [32, 64, 128, largestKeyDimension].first { $0 >= keyDimension }
  }

  let pass: Pass
  let update: LinearProblem.Update
  /// The key dimension of the kernel; channels beyond the problem's are zero.
  let keys: Int
  /// Columns of the values per block.
  let columns: Int
  /// Blocks that share the columns.
  let slices: Int

  /// The widest tile that fits into shared memory; nil if none does.
  ///
  /// In the forward pass narrow slices give many blocks: at most 32 columns. In the backward pass every slice
  /// computes the gradients of queries and keys for its columns and writes them to memory: up to 64 columns.
  init?(
    _ pass: Pass, _ update: LinearProblem.Update, keyDimension: Int, valueDimension: Int,
    sharedBytes: Int
  ) {
    guard let keys = Self.padded(keyDimension) else { return nil }
    let candidates = (pass == .forward ? [32, Self.narrowest] : [64, 32, Self.narrowest]).filter {
      $0 == Self.narrowest || $0 / 2 < valueDimension
    }
    let fits = candidates.first {
      Self.sharedBytes(pass, update, keys: keys, columns: $0) <= sharedBytes
    }
    guard let columns = fits else { return nil }
    self.pass = pass
    self.update = update
    self.keys = keys
    self.columns = columns
    slices = valueDimension.pieces(of: columns)
  }

  init?(_ problem: LinearProblem, _ pass: Pass, sharedBytes: Int) {
    self.init(
      pass, problem.update, keyDimension: problem.keyDimension,
      valueDimension: problem.valueDimension, sharedBytes: sharedBytes)
  }

  /// The shared memory of a block with the narrowest tile.
  static func leastSharedBytes(_ problem: LinearProblem, _ pass: Pass) -> Int {
    sharedBytes(
      pass, problem.update,
      keys: padded(problem.keyDimension) ?? largestKeyDimension,
      columns: narrowest)
  }

  var sharedBytes: Int { Self.sharedBytes(pass, update, keys: keys, columns: columns) }

  private static func sharedBytes(
    _ pass: Pass, _ update: LinearProblem.Update, keys: Int, columns: Int
  ) -> Int {
    linear_chunk_layout(Int(update.kernelNumber), keys, columns, pass == .backward ? 1 : 0).end
      * float_bytes
  }

  /// The macros of the kernel.
  var definitions: [String] {
    ["UPDATE=\(update.kernelNumber)", "KEYS=\(keys)", "COLUMNS=\(columns)"]
  }
}

/// How `linear/step.cu`, the step form, divides a problem.
struct LinearStepTile: Hashable, Sendable {
  /// Threads and columns of the values per block.
  static let threads = linear_threads
  static let columns = linear_step_columns

  /// The key dimension of the kernel.
  let keys: Int
  /// Blocks that share the columns.
  let slices: Int

  /// Nil if the key dimension is too large.
  init?(_ problem: LinearProblem) {
    guard let keys = LinearTile.padded(problem.keyDimension) else { return nil }
    self.keys = keys
    slices = problem.valueDimension.pieces(of: Self.columns)
  }

  var sharedBytes: Int { linear_step_layout(keys).end * float_bytes }
}

extension LinearProblem.Update {
  /// The kernels' number of an update.
  var kernelNumber: Int32 {
    let number =
      switch self {
      case .additive, .additiveBefore: linear_additive
      case .delta, .generalizedDelta: linear_erasing
      case .lowRank: linear_low_rank
      }
    return Int32(number)
  }
}
