import AttentionCPUKernels
import AttentionTensors

/// The gradients of the rows of one chunk that read and are written, and of its decay.
///
/// A read x found something whose gradient is f, a write z left u in the state; h is the state before
/// the chunk, dh' the gradient of the state after it, and S the scores of x and z. Then
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

  /// What goes through a chunk, forward and backward.
  struct Flow {
    /// [count, k] for each read and each write, as the scores were computed from them.
    let reads, writes: [UnsafePointer<Float>]
    /// [count, 1 or k]: logarithms of the decay.
    let decay: UnsafePointer<Float>
    /// f [count, v] for each read.
    let found: [UnsafePointer<Float>]
    /// u [count, v] for each write.
    let written: [UnsafePointer<Float>]
    /// hᵀ and dh'ᵀ [v, k]
    let state, stateGradient: Panels
  }

  let scores: ChunkScores
  let product: PanelProduct
  let kernels: cpu_kernels
  let (k, v): (Int, Int)
  private let scratch: Scratch
  /// [64, 64] for each read and write.
  private let scoreGradients: Rows
  /// [64, k] each: what flows through the state, then all.
  let reads, writes: [Rows]
  /// [64, k] each: what flows between different tokens of the chunk, decays by channel only. Reads
  /// before the decay lie a row earlier.
  let readPairs, writePairs: [Rows]
  /// [64, 1 or k]; nothing without decay.
  let decay: Rows
  /// [64, k] each: what passes earlier and later tokens.
  let earlier, later: Rows
  /// [k]: from the state before to the state after the chunk.
  let through: Rows
  /// Rows of k packed for a product, [64, k].
  private let packedRows: Panels
  /// uᵀ [v, 64]
  private let transposedWritten: Panels
  /// Working memory of loops, max(64, k).
  let work: Rows

  /// Floats of working memory.
  static func size(_ k: Int, _ v: Int, tile: Int, reads: Int, writes: Int) -> Int {
    let length = ChunkScores.length
    return reads * writes * length * length + (2 * reads + 2 * writes + 3) * length * k + k
      + Panels.size(rows: length, columns: k, tile: tile)
      + Panels.size(rows: v, columns: length, tile: tile) + max(length, k)
  }

  init(_ scores: ChunkScores, _ product: PanelProduct, _ k: Int, _ v: Int) throws {
    self.scores = scores
    self.product = product
    kernels = product.kernels
    (self.k, self.v) = (k, v)
    let (readCount, writeCount) = (scores.reads.count, scores.writes.count)
    let (length, tile) = (ChunkScores.length, kernels.tile_columns)
    scratch = try Scratch(
      floats: Self.size(k, v, tile: tile, reads: readCount, writes: writeCount))
    var next = scratch.base
    func take(_ count: Int) -> Rows {
      defer { next += count }
      return next
    }
    packedRows = Panels(rows: length, columns: k, tile: tile, base: next)
    next += packedRows.size
    transposedWritten = Panels(rows: v, columns: length, tile: tile, base: next)
    next += transposedWritten.size
    scoreGradients = take(readCount * writeCount * length * length)
    reads = (0..<readCount).map { _ in take(length * k) }
    writes = (0..<writeCount).map { _ in take(length * k) }
    readPairs = (0..<readCount).map { _ in take(length * k) }
    writePairs = (0..<writeCount).map { _ in take(length * k) }
    decay = take(length * k)
    earlier = take(length * k)
    later = take(length * k)
    through = take(k)
    work = take(max(length, k))
  }

  /// dS [64, 64] of a read and a write, from the first row on that the read's scores were computed
  /// for.
  func scoreGradient(_ read: Int, _ write: Int) -> Rows {
    let length = ChunkScores.length
    return scoreGradients + (read * scores.writes.count + write) * length * length
      + scores.reads[read].moment.shift * length
  }

  /// Computes ``reads``, ``writes`` and, if there is one, ``decay`` of a chunk of `count` tokens.
  ///
  /// - Parameter advance: called now and then between products.
  func compute(_ count: Int, _ flow: Flow, advance: () -> Void) {
    differentiateScores(count, flow)
    advance()
    throughState(count, flow)
    advance()
    if scores.isByChannel {
      addPairsByChannel(count, flow)
    } else {
      if scores.decays { gatherDecay(count, flow) }
      addPairs(count, flow)
    }
  }

  /// dS = f uᵀ, whole panels as far as each band of reads sees.
  private func differentiateScores(_ count: Int, _ flow: Flow) {
    let (length, tile) = (ChunkScores.length, transposedWritten.tile)
    for (write, written) in flow.written.enumerated() {
      product.pack(written, row: 1, column: v, rows: v, columns: count, into: transposedWritten)
      for (read, found) in flow.found.enumerated() {
        let shift = scores.reads[read].moment.shift
        for first in stride(from: 0, to: count - shift, by: tile) {
          product.multiply(
            .rows(found + (first + shift) * v, v), transposedWritten,
            rows: min(tile, count - shift - first), columns: min(count, first + tile),
            depth: 0..<v, into: scoreGradient(read, write) + first * length, stride: length,
            adds: false)
        }
      }
    }
  }

  /// What reads and writes get through the state.
  private func throughState(_ count: Int, _ flow: Flow) {
    let byChannel: Int32 = scores.isByChannel ? 1 : 0
    for (read, found) in flow.found.enumerated() {
      let (rows, shift) = (reads[read], scores.reads[read].moment.shift)
      product.multiply(
        .rows(found, v), flow.state, rows: count, columns: k, depth: 0..<v, into: rows, stride: k,
        adds: false)
      guard scores.decays else { continue }
      kernels.decay_from_start(
        count - shift, k, rows + shift * k, flow.decay, byChannel, rows + shift * k, work)
    }
    for (rows, written) in zip(writes, flow.written) {
      product.multiply(
        .rows(written, v), flow.stateGradient, rows: count, columns: k, depth: 0..<v, into: rows,
        stride: k, adds: false)
      guard scores.decays else { continue }
      kernels.decay_to_end(count, k, rows, flow.decay, byChannel, rows, work)
    }
    guard scores.decays else { return }
    kernels.panel_dots(
      v, k, flow.state.base, flow.stateGradient.base, flow.state.stride, through)
  }

  /// Packs `count` rows of k as a right operand.
  func pack(_ rows: UnsafePointer<Float>, _ count: Int) {
    product.pack(rows, row: k, column: 1, rows: count, columns: k, into: packedRows)
  }

  /// c (+)= a b for packed rows b.
  func multiply(
    _ a: LeftOperand, rows: Int, depth: Range<Int>, into c: Rows, adds: Bool
  ) {
    product.multiply(
      a, packedRows, rows: rows, columns: k, depth: depth, into: c, stride: k, adds: adds)
  }
}
