import AttentionCPUKernels
import AttentionTensors

/// The scores between the tokens of one chunk, and its reads and writes of the state, with decay.
/// For each row x that reads (queries, or the read keys of an update) and each row z that is
/// written (keys):
///
///     scores   Σ_d x_id z_jd e^(G_id − G_jd) for j ≤ i, or j < i
///     reads    x e^G, which read the state before the chunk
///     writes   z e^(γ − G), which write the state after the chunk
///     total    e^γ
///
/// where G is the cumulative sum of the decay's logarithm g inside the chunk and γ its last row.
/// Every exponent is a sum of g over consecutive tokens, all at most 0, never a difference of
/// cumulative sums, which would lose its digits after a strong decay.
///
/// A decay that all channels share factors out of the sum over d. Decays by channel do not: blocks
/// of ``block`` reads are multiplied by all earlier writes, decayed to the start of the block, and
/// the pairs inside a block are summed one by one.
final class ChunkScores {
  /// Tokens of a chunk.
  static let length = 64
  /// Tokens of a block.
  static let block = 16

  /// The tokens of a block.
  struct Block {
    let index: Int
    let tokens: Range<Int>
  }

  /// When in its token a row reads the state.
  enum Moment {
    case afterWrite
    /// After the decay, before the write.
    case afterDecay
    /// Before the decay: at the sum G − g. Row i + 1 then reads the same state and writes as row i
    /// of a read after the write, and is computed as that.
    case beforeDecay

    /// The number of rows by which a token's row follows the one that it is computed as.
    var shift: Int { self == .beforeDecay ? 1 : 0 }
  }

  /// A row per token that reads the state.
  struct Read {
    let moment: Moment
    /// [64, k]: decayed from the start of the chunk; without decay the given rows.
    fileprivate(set) var rows: UnsafePointer<Float>
    let room: UnsafeMutablePointer<Float>
    /// [64, k]: by channel, rows from ``Moment/shift`` on, decayed from the start of their block.
    let blockRows: UnsafeMutablePointer<Float>
  }

  /// A row per token that is written into the state.
  struct Write {
    /// [64, k]: decayed to the end of the chunk; without decay the given rows.
    fileprivate(set) var rows: UnsafePointer<Float>
    let room: UnsafeMutablePointer<Float>
    /// By channel, for each block all earlier rows decayed to its start, block after block.
    let earlierRows: UnsafeMutablePointer<Float>
  }

  /// Whether there is a decay, and whether it differs by channel.
  let decays, isByChannel: Bool
  private(set) var reads: [Read]
  private(set) var writes: [Write]
  private let product: PanelProduct
  let kernels: cpu_kernels
  let k: Int
  /// [64, 64] for each read and write.
  private let allScores: UnsafeMutablePointer<Float>
  /// [1 or k]: e^γ, once writes or reads are decayed; unused without decay.
  let total: UnsafeMutablePointer<Float>
  let channels: ChannelDecays
  /// Working memory of the loops, max(64, k).
  let work: UnsafeMutablePointer<Float>
  private let transposedWrites: Panels

  /// The number of earlier rows of all blocks.
  private static let earlierRows = blocks(length).reduce(0) { $0 + $1.tokens.lowerBound }

  init(_ shape: ChunkShape, _ product: PanelProduct, _ arena: inout Arena) {
    self.product = product
    kernels = shape.kernels
    k = shape.k
    (decays, isByChannel) = (shape.decayWidth > 0, shape.decayWidth > 1)
    let (rows, k) = (Self.length, k)
    let (decayed, byChannel) = (decays ? rows * k : 0, isByChannel ? k : 0)
    transposedWrites = arena.operand(k, rows, shape)
    allScores = arena.take(shape.reads.count * shape.writes * rows * rows)
    reads = shape.reads.map {
      let room = arena.take(decayed)
      return Read(moment: $0, rows: room, room: room, blockRows: arena.take(rows * byChannel))
    }
    writes = (0..<shape.writes).map { _ in
      let room = arena.take(decayed)
      return Write(
        rows: room, room: room, earlierRows: arena.take(Self.earlierRows * byChannel))
    }
    channels = ChannelDecays(shape, exist: isByChannel, &arena)
    total = arena.take(k)
    work = arena.take(max(rows, k))
  }

  /// [64, 64], tokens by tokens. With decays by channel, elements right of the diagonal's block are
  /// undefined.
  func scores(_ read: Int, _ write: Int) -> UnsafeMutablePointer<Float> {
    allScores + (read * writes.count + write) * Self.length * Self.length
  }

  /// Decays the writes to the end of a chunk of `count` tokens.
  ///
  /// - Parameters:
  ///   - keys: `[count, k]` for each write.
  ///   - g: logarithms of the decay [count, 1 or k].
  func decayWrites(_ count: Int, _ keys: [UnsafePointer<Float>], _ g: UnsafePointer<Float>) {
    for (index, keys) in keys.enumerated() {
      if decays {
        kernels.decay_to_end(count, k, keys, g, isByChannel ? 1 : 0, writes[index].room, total)
      } else {
        writes[index].rows = keys
      }
    }
  }

  /// Decays the reads from the start of a chunk of `count` tokens.
  ///
  /// - Parameters:
  ///   - sources: `[count, k]` for each read.
  ///   - g: logarithms of the decay [count, 1 or k].
  func decayReads(
    _ count: Int, _ sources: [UnsafePointer<Float>], _ g: UnsafePointer<Float>, from first: Int = 0
  ) {
    for (index, source) in sources.enumerated().dropFirst(first) {
      guard decays else {
        reads[index].rows = source
        continue
      }
      let (shift, target) = (reads[index].moment.shift, reads[index].room)
      if shift > 0 { target.update(from: source, count: k) }
      kernels.decay_from_start(
        count - shift, k, source + shift * k, g, isByChannel ? 1 : 0, target + shift * k,
        shift == 0 ? total : work)
    }
  }

  /// Computes the scores, reads and writes of a chunk of `count` tokens.
  ///
  /// - Parameters:
  ///   - sources: `[count, k]` for each read; queries carry the scale.
  ///   - keys: `[count, k]` for each write.
  ///   - g: logarithms of the decay [count, 1 or k].
  ///   - first: the first read that is needed.
  func compute(
    _ count: Int, reads sources: [UnsafePointer<Float>], writes keys: [UnsafePointer<Float>],
    _ g: UnsafePointer<Float>, from first: Int = 0
  ) {
    guard first < reads.count else { return decayWrites(count, keys, g) }
    if isByChannel {
      computeByChannel(count, sources, keys, g, from: first)
    } else {
      decayWrites(count, keys, g)
      decayReads(count, sources, g, from: first)
      computeShared(count, sources, keys, g, first)
    }
    for (index, read) in reads.enumerated().dropFirst(first) where read.moment != .afterWrite {
      for write in writes.indices { clearOwn(scores(index, write), count, read.moment) }
    }
  }

  /// The blocks of a chunk of `count` tokens.
  static func blocks(_ count: Int) -> [Block] {
    stride(from: 0, to: count, by: block).map {
      Block(index: $0 / block, tokens: $0..<min($0 + block, count))
    }
  }
}

extension ChunkScores {
  private func computeShared(
    _ count: Int, _ sources: [UnsafePointer<Float>], _ keys: [UnsafePointer<Float>],
    _ g: UnsafePointer<Float>, _ firstScored: Int
  ) {
    let tile = transposedWrites.tile
    for write in writes.indices {
      pack(keys[write], count)
      for (index, read) in reads.enumerated().dropFirst(firstScored) {
        let shift = read.moment.shift
        let rows = count - shift
        let target = scores(index, write) + shift * Self.length
        let left = left(sources[index] + shift * k, rows)
        // Whole panels, up to the last key that each band of reads needs.
        for first in stride(from: 0, to: rows, by: tile) {
          multiply(
            left, rows: first..<min(first + tile, rows), keys: min(count, first + tile),
            into: target)
        }
        decayPairs(rows, target, g)
      }
    }
  }

  /// Clears the elements of the diagonal's block that a row before the write does not read.
  private func clearOwn(_ scores: UnsafeMutablePointer<Float>, _ count: Int, _ moment: Moment) {
    if moment == .afterDecay {
      for t in 0..<count { scores[t * (Self.length + 1)] = 0 }
    } else {
      // The first row of a block was computed as the last of the block before.
      for block in Self.blocks(count) {
        (scores + block.tokens.lowerBound * (Self.length + 1)).update(
          repeating: 0, count: block.tokens.count)
      }
      // Nothing reads what the last token writes.
      for t in (count - 1) / Self.block * Self.block..<count {
        scores[t * Self.length + count - 1] = 0
      }
    }
  }

  /// Decays a matrix [count, 64] of pairs of tokens, with the later one as the row, and clears the
  /// elements right of its diagonal.
  func decayPairs(
    _ count: Int, _ pairs: UnsafeMutablePointer<Float>, _ g: UnsafePointer<Float>
  ) {
    kernels.decay_tril(count, pairs, Self.length, decays ? g : nil, work)
  }

  func pack(_ keys: UnsafePointer<Float>, _ count: Int) {
    product.pack(keys, row: 1, column: k, rows: k, columns: count, into: transposedWrites)
  }

  /// Scores of `rows` reads with the first `keys` packed keys.
  func multiply(
    _ reads: LeftOperand, rows: Range<Int>, keys: Int, into target: UnsafeMutablePointer<Float>
  ) {
    product.multiply(
      reads, transposedWrites, rows: rows, depth: 0..<k, columns: keys,
      into: .rows(target, Self.length), adds: false)
  }

  func left(_ reads: UnsafePointer<Float>, _ rows: Int) -> LeftOperand {
    product.left(.rows(reads, k), rows: rows, depth: k)
  }
}

extension ChunkScores {
  /// Decays rows [count, k] from the start of the chunk, like reads. Requires the scores.
  func decayFromStart(_ count: Int, _ rows: UnsafeMutablePointer<Float>, _ g: UnsafePointer<Float>)
  {
    guard isByChannel else { return kernels.decay_from_start(count, k, rows, g, 0, rows, work) }
    channels.multiply(count, rows, channels.fromStart, into: rows)
    channels.scale(count, rows, byBlock: channels.before, into: rows)
  }

  /// Decays rows [count, k] to the end of the chunk, like writes. Requires the scores.
  func decayToEnd(_ count: Int, _ rows: UnsafeMutablePointer<Float>, _ g: UnsafePointer<Float>) {
    guard isByChannel else { return kernels.decay_to_end(count, k, rows, g, 0, rows, work) }
    channels.multiply(count, rows, channels.toEnd, into: rows)
    channels.scale(count, rows, byBlock: channels.after, into: rows)
  }

  /// Multiplies a state [k, v] by the decay of the whole chunk.
  func decayState(_ state: Panels) {
    guard decays else { return }
    guard isByChannel else { return kernels.scale(state.size, total[0], state.base) }
    for panel in state.panels {
      kernels.scale_rows(state.rows, state.tile, total, 1, panel.base, state.tile)
    }
  }
}
