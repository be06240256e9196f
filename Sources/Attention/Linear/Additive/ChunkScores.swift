import CPUKernels
import Tensors

/// What the tokens of one chunk are to each other and to the state, decay included:
///
///     scores     A_ij = Σ_d q_id k_jd e^(G_id − G_jd) for j ≤ i
///     queries    q e^G, which read the state before the chunk
///     keys       k e^(γ − G), which write the state after the chunk
///     total      e^γ
///
/// with G the running sum of the decay's logarithm g inside the chunk, γ its last row. Every exponent
/// is a sum of the g of neighbouring tokens, all at most 0, and never a difference of running sums,
/// which would lose its digits behind a strong gate.
///
/// A decay that all channels share factors out of the sum over d. Decays by channel do not: there,
/// blocks of ``block`` queries meet all earlier keys decayed to the start of the block, and the
/// pairs inside a block are summed one by one.
final class ChunkScores {
  /// Tokens of a chunk.
  static let length = 64
  /// Tokens of a block.
  static let block = 16

  /// The queries of a block and the keys before it.
  struct Block {
    let index: Int
    let tokens: Range<Int>
  }

  let isByChannel: Bool
  private let product: PanelProduct
  fileprivate let kernels: cpu_kernels
  private let k: Int
  private let scratch: Scratch
  /// [64, 64]. With decays by channel, what lies right of the block of the diagonal is undefined.
  let scores: UnsafeMutablePointer<Float>
  /// [64, k]
  let queries: UnsafeMutablePointer<Float>
  /// [64, k]
  let keys: UnsafeMutablePointer<Float>
  /// [1 or k]
  let total: UnsafeMutablePointer<Float>
  /// [64, k]: by channel, queries decayed from the start of their block.
  let blockQueries: UnsafeMutablePointer<Float>
  /// [64, k]: by channel, keys decayed to the start of the block at work.
  let blockKeys: UnsafeMutablePointer<Float>
  /// [64, k]: by channel, the decay of each token, e^g.
  let factors: UnsafeMutablePointer<Float>
  /// [4, k]: by channel, the decay of each block.
  let blockTotals: UnsafeMutablePointer<Float>
  /// Working memory of the loops, max(64, k).
  let work: UnsafeMutablePointer<Float>
  private let transposedKeys: Panels

  static func size(keyDimension k: Int, tile: Int) -> Int {
    length * length + 5 * length * k + (length / block + 1) * k + max(length, k)
      + Panels.size(rows: k, columns: length, tile: tile)
  }

  init(_ product: PanelProduct, keyDimension: Int, isByChannel: Bool) throws {
    self.product = product
    self.isByChannel = isByChannel
    kernels = product.kernels
    k = keyDimension
    let tile = kernels.tile_columns
    scratch = try Scratch(floats: Self.size(keyDimension: k, tile: tile))
    let rows = Self.length
    transposedKeys = Panels(rows: k, columns: rows, tile: tile, base: scratch.base)
    scores = scratch.base + transposedKeys.size
    queries = scores + rows * rows
    keys = queries + rows * k
    blockQueries = keys + rows * k
    blockKeys = blockQueries + rows * k
    factors = blockKeys + rows * k
    blockTotals = factors + rows * k
    total = blockTotals + rows / Self.block * k
    work = total + k
  }

  /// Decays the keys to the end of a chunk of `count` tokens, as its writing to the state needs.
  ///
  /// - Parameters:
  ///   - k: keys [count, k].
  ///   - g: logarithms of the decay [count, 1 or k].
  func decayKeys(_ count: Int, _ k: UnsafePointer<Float>, _ g: UnsafePointer<Float>) {
    kernels.decay_to_end(count, self.k, k, g, isByChannel ? 1 : 0, keys, total)
  }

  /// Everything about a chunk of `count` tokens.
  ///
  /// - Parameters:
  ///   - q: scaled queries [count, k].
  ///   - k: keys [count, k].
  ///   - g: logarithms of the decay [count, 1 or k].
  ///   - onBlock: by channel, called for each block but the first while ``blockKeys`` holds all
  ///     earlier keys decayed to its start.
  func compute(
    _ count: Int, _ q: UnsafePointer<Float>, _ k: UnsafePointer<Float>,
    _ g: UnsafePointer<Float>, onBlock: (Block) -> Void = { _ in }
  ) {
    decayKeys(count, k, g)
    kernels.decay_from_start(count, self.k, q, g, isByChannel ? 1 : 0, queries, total)
    if isByChannel {
      computeByChannel(count, q, k, g, onBlock)
    } else {
      pack(k, count)
      // Whole panels, as far as each band of queries sees.
      let tile = transposedKeys.tile
      for first in stride(from: 0, to: count, by: tile) {
        multiply(
          q + first * self.k, rows: min(tile, count - first), keys: min(count, first + tile),
          into: first)
      }
      kernels.decay_tril(count, scores, Self.length, g, work)
    }
  }

  private func computeByChannel(
    _ count: Int, _ q: UnsafePointer<Float>, _ k: UnsafePointer<Float>,
    _ g: UnsafePointer<Float>, _ onBlock: (Block) -> Void
  ) {
    kernels.unary_f32(CPU_EXP, count * self.k, g, factors)
    for block in Self.blocks(count) {
      let (first, rows) = (block.tokens.lowerBound, block.tokens.count)
      let start = first * self.k
      let decay = blockTotals + block.index * self.k
      kernels.decay_from_start(rows, self.k, q + start, g + start, 1, blockQueries + start, decay)
      if first > 0 {
        pack(blockKeys, first)
        multiply(blockQueries + start, rows: rows, keys: first, into: first)
        onBlock(block)
      }
      kernels.channel_scores(
        rows, self.k, q + start, k + start, factors + start, work,
        scores + first * (Self.length + 1), Self.length)
      kernels.scale_columns(first, self.k, decay, blockKeys, self.k)
      kernels.decay_to_end(rows, self.k, k + start, g + start, 1, blockKeys + start, work)
    }
  }

  /// The blocks of a chunk of `count` tokens.
  static func blocks(_ count: Int) -> [Block] {
    stride(from: 0, to: count, by: block).map {
      Block(index: $0 / block, tokens: $0..<min($0 + block, count))
    }
  }

  private func pack(_ keys: UnsafePointer<Float>, _ count: Int) {
    product.pack(keys, row: 1, column: k, rows: k, columns: count, into: transposedKeys)
  }

  /// Scores of `rows` queries with the first `keys` packed keys, from row `first` on.
  private func multiply(
    _ queries: UnsafePointer<Float>, rows: Int, keys: Int, into first: Int
  ) {
    product.multiply(
      .rows(queries, k), transposedKeys, rows: rows, columns: keys, depth: 0..<k,
      into: scores + first * Self.length, stride: Self.length, adds: false)
  }
}

extension ChunkScores {
  /// Multiplies a state [k, v] by the decay of the whole chunk.
  func decayState(_ state: Panels) {
    guard isByChannel else { return kernels.scale(state.size, total[0], state.base) }
    for panel in state.panels {
      kernels.scale_rows(state.rows, state.tile, total, 1, panel.base, state.tile)
    }
  }

  /// Multiplies the transpose of a state, [v, k], by the decay of the whole chunk.
  func decayTransposedState(_ state: Panels) {
    guard isByChannel else { return kernels.scale(state.size, total[0], state.base) }
    for panel in state.panels {
      kernels.scale_columns(
        state.rows, panel.width, total + panel.firstColumn, panel.base, state.tile)
    }
  }
}
