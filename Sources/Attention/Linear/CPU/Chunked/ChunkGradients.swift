import AttentionCPUKernels
import AttentionTensors

/// The gradients of the reads and writes of one chunk, and of its decay.
///
/// f is the gradient of what a read x found, and u what is written with the row z; h is the state
/// before the chunk, dh' the gradient of the state after it, and S the scores of x and z. Then
///
///     dS = f uᵀ , masked
///     dx = (f hᵀ) e^G         + the share of dS
///     dz = (u dh'ᵀ) e^(γ − G)  + the share of dS
///
/// The gradient of the decay's logarithm at t counts everything that passes t: from the state to
/// reads i ≥ t, from writes j < t to the state, from state to state, and from writes j < t to reads
/// i ≥ t of the chunk.
final class ChunkGradients {
  typealias Rows = UnsafeMutablePointer<Float>

  /// The values and gradients of a chunk that its gradients are computed from.
  struct Flow {
    /// [count, k] for each read and each write, as the scores were computed from them.
    let reads, writes: [UnsafePointer<Float>]
    /// [count, 1 or k]: logarithms of the decay.
    let decay: UnsafePointer<Float>
    /// f [count, v] for each read.
    let found: [UnsafePointer<Float>]
    /// u [count, v] for each write.
    let written: [UnsafePointer<Float>]
    /// hᵀ and dh'ᵀ [v, k], in float32.
    let state, stateGradient: Panels
  }

  let scores: ChunkScores
  let product: PanelProduct
  let kernels: cpu_kernels
  let (k, v): (Int, Int)
  /// [64, 64] for each read and write.
  private let scoreGradients: Rows
  /// [64, k] each: the gradient through the state, then all of it.
  let reads, writes: [Rows]
  /// [64, k] each: the gradient between different tokens of the chunk, decays by channel only.
  /// Reads before the decay are stored a row earlier.
  let readPairs, writePairs: [Rows]
  /// [64, 1 or k]; unused without decay.
  let decay: Rows
  /// [64, k] each, decays by channel only: the terms that pass earlier tokens and those that pass
  /// later ones.
  let earlier, later: Rows
  /// [k]: the term from the state before to the state after the chunk.
  let through: Rows
  /// Rows of k packed for a product, [64, k].
  private let packedRows: Panels
  /// uᵀ of each write [v, 64]
  private let transposedWritten: [Panels]
  /// hᵀ and dh'ᵀ [v, k] as operands.
  private let stateRoom, stateGradientRoom: Panels
  /// Working memory of loops, max(64, k).
  let work: Rows

  init(_ shape: ChunkShape, _ scores: ChunkScores, _ product: PanelProduct, _ arena: inout Arena) {
    self.scores = scores
    self.product = product
    kernels = shape.kernels
    (k, v) = (shape.k, shape.v)
    let (k, v, length) = (k, v, ChunkScores.length)
    let byChannel = scores.isByChannel ? length * k : 0
    packedRows = arena.operand(length, k, shape)
    transposedWritten = (0..<shape.writes).map { _ in arena.operand(v, length, shape) }
    stateRoom = arena.rounded(v, k, shape)
    stateGradientRoom = arena.rounded(v, k, shape)
    scoreGradients = arena.take(shape.reads.count * shape.writes * length * length)
    reads = shape.reads.map { _ in arena.take(length * k) }
    writes = (0..<shape.writes).map { _ in arena.take(length * k) }
    readPairs = shape.reads.map { _ in arena.take(byChannel) }
    writePairs = (0..<shape.writes).map { _ in arena.take(byChannel) }
    decay = arena.take(length * max(1, shape.decayWidth))
    (earlier, later) = (arena.take(byChannel), arena.take(byChannel))
    through = arena.take(k)
    work = arena.take(max(length, k))
  }

  /// dS [64, 64] of a read and a write, from the first row that has scores.
  func scoreGradient(_ read: Int, _ write: Int) -> Rows {
    let length = ChunkScores.length
    return scoreGradients + (read * scores.writes.count + write) * length * length
      + scores.reads[read].moment.shift * length
  }

  /// Computes ``reads``, ``writes`` and, if there is one, ``decay`` of a chunk of `count` tokens.
  func compute(_ count: Int, _ flow: Flow) {
    for (packed, written) in zip(transposedWritten, flow.written) {
      product.pack(written, row: 1, column: v, rows: v, columns: count, into: packed)
    }
    let state = product.operand(of: flow.state, in: stateRoom)
    let stateGradient = product.operand(of: flow.stateGradient, in: stateGradientRoom)
    for (read, found) in flow.found.enumerated() {
      differentiate(read, found, count, state, flow.decay)
    }
    for (rows, written) in zip(writes, flow.written) {
      product.multiply(
        product.left(.rows(written, v), rows: count, depth: v), stateGradient,
        rows: 0..<count, depth: 0..<v, into: .rows(rows, k), adds: false)
      if scores.decays { scores.decayToEnd(count, rows, flow.decay) }
    }
    if scores.decays {
      // Of states before they are rounded: their terms cancel.
      let (state, gradient) = (flow.state, flow.stateGradient)
      kernels.panel_dots(v, k, state.base, gradient.base, state.stride, through)
    }
    if scores.isByChannel {
      addPairsByChannel(count, flow)
    } else {
      if scores.decays { gatherDecay(count, flow) }
      addPairs(count, flow)
    }
  }

  /// dS = f uᵀ of a read, in whole panels up to the last key that each band of rows reads, and its
  /// gradient through the state.
  private func differentiate(
    _ read: Int, _ found: UnsafePointer<Float>, _ count: Int, _ state: Panels,
    _ decay: UnsafePointer<Float>
  ) {
    let (length, shift) = (ChunkScores.length, scores.reads[read].moment.shift)
    let left = product.left(.rows(found, v), rows: count, depth: v)
    for (write, written) in transposedWritten.enumerated() {
      for first in stride(from: 0, to: count - shift, by: written.tile) {
        product.multiply(
          left, written, rows: first + shift..<min(first + shift + written.tile, count),
          depth: 0..<v, columns: min(count, first + written.tile),
          into: .rows(scoreGradient(read, write) - shift * length, length), adds: false)
      }
    }
    product.multiply(
      left, state, rows: 0..<count, depth: 0..<v, into: .rows(reads[read], k), adds: false)
    if scores.decays { scores.decayFromStart(count - shift, reads[read] + shift * k, decay) }
  }

  /// Packs `count` rows of k as a right operand.
  func pack(_ rows: UnsafePointer<Float>, _ count: Int) {
    product.pack(rows, row: k, column: 1, rows: count, columns: k, into: packedRows)
  }

  /// A gradient of scores, `rows` by `depth`, as a left operand.
  func left(_ gradient: UnsafePointer<Float>, rows: Int, depth: Int) -> LeftOperand {
    product.left(.rows(gradient, ChunkScores.length), rows: rows, depth: depth)
  }

  /// The transpose of a gradient of scores, `depth` by `rows`, as a left operand.
  func leftTransposed(_ gradient: UnsafePointer<Float>, rows: Int, depth: Int) -> LeftOperand {
    product.left(.transposed(gradient, ChunkScores.length), rows: rows, depth: depth)
  }

  /// c (+)= a b for packed rows b.
  func multiply(
    _ a: LeftOperand, rows: Range<Int>, depth: Range<Int>, into c: Rows, adds: Bool
  ) {
    product.multiply(
      a, packedRows, rows: rows, depth: depth, into: .rows(c, k), adds: adds)
  }
}
