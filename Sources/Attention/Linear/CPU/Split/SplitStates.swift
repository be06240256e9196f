import AttentionCPUKernels
import AttentionTensors

/// The states between the pieces of sequences; the pieces are solved in parallel.
///
/// The state after a piece is an affine map of the state before it, S' = M S + L, and its gradient
/// is propagated by the transpose, dS = Mᵀ dS' + B; so pieces can be solved separately and merged
/// afterwards. M is diagonal, e^Γ with Γ the sum of the decay's logarithms, unless tokens erase.
///
/// Pieces and the order of sums depend only on the problem, so results do not depend on the number
/// of threads.
struct SplitStates {
  typealias Rows = UnsafeMutablePointer<Float>

  private let passes: ChunkedPasses
  private let pieces: SequencePieces
  private let shape: ChunkShape
  /// [pieces, k, v]: the state before each piece.
  let before: Scratch
  /// M of each piece.
  private let maps: Scratch

  private var stateSize: Int { shape.k * shape.v }
  /// Floats of M.
  private var mapSize: Int { Self.mapSize(shape) }

  static func mapSize(_ shape: ChunkShape) -> Int { shape.erases ? shape.k * shape.k : shape.k }

  /// Solves the pieces and merges their states.
  ///
  /// - Parameter needsAllMaps: whether the map of a sequence's last piece is needed, too, as it is
  ///   by the gradient.
  init(_ passes: ChunkedPasses, _ pieces: SequencePieces, needsAllMaps: Bool) throws {
    (self.passes, self.pieces, shape) = (passes, pieces, passes.shape)
    let size = shape.k * shape.v
    before = try Scratch(floats: pieces.count * size)
    maps = try Scratch(floats: pieces.count * Self.mapSize(shape))
    try Threads.tryForEach(pieces.count) { index in
      let piece = pieces.all[index]
      if piece.isFirst {
        try passes.call.copyInitialState(piece.recurrence, to: before.base + index * size)
      }
      if !piece.isLast || needsAllMaps { try findMap(piece.chunks, index) }
      guard !piece.isLast else { return }
      let end = before.base + (index + 1) * size
      end.update(repeating: 0, count: size)
      try Arena.place { ChunkedForward(shape, &$0) }.advance(passes.reader, piece.chunks, end)
    }
    try carry(through: before, backward: false)
  }

  /// [pieces, k, v]: the gradient of the state after each piece, from that of the final states
  /// [n, hv, k, v].
  func gradientsAfter(_ finalGradient: Tensor, incoming: TokenRows) throws -> Scratch {
    let size = stateSize
    let after = try Scratch(floats: pieces.count * size)
    try Threads.tryForEach(pieces.count) { index in
      let piece = pieces.all[index]
      if piece.isLast {
        try finalGradient.withUnsafePointer(to: Float.self) {
          (after.base + index * size).update(from: $0 + piece.recurrence * size, count: size)
        }
      }
      guard !piece.isFirst else { return }
      let start = after.base + (index - 1) * size
      start.update(repeating: 0, count: size)
      try Arena.place { ChunkedForward(shape, backward: true, &$0) }.retreat(
        passes.reader, piece.chunks, start, incoming: incoming)
    }
    try carry(through: after, backward: true)
    return after
  }

  /// Computes M of piece `index`.
  private func findMap(_ chunks: [RecurrenceReader.Piece], _ index: Int) throws {
    let (k, kernels, map) = (shape.k, shape.kernels, maps.base + index * mapSize)
    map.update(repeating: 0, count: mapSize)
    if shape.erases {
      for d in 0..<k { map[d * (k + 1)] = 1 }
      try Arena.place { ChunkedForward(shape.ofMap, &$0) }.advance(passes.reader, chunks, map)
      return
    }
    let width = shape.decayWidth
    let decay = try Scratch(floats: ChunkScores.length * width)
    for chunk in chunks {
      passes.reader.decay?.load(
        row: chunk.row, tokens: chunk.tokens, head: chunk.head, to: decay.base)
      for t in 0..<chunk.count { kernels.axpy(width, 1, decay.base + t * width, map) }
    }
    if width == 1 { map.update(repeating: map[0], count: k) }
    kernels.unary_f32(CPU_EXP, k, map, map)
  }

  /// Adds to each piece's own state, or gradient, the one carried over from the adjacent piece,
  /// sequentially over the pieces of a sequence and in parallel over columns of the values.
  private func carry(through states: Scratch, backward: Bool) throws {
    let (size, tile) = (stateSize, shape.tile)
    let firsts = pieces.all.indices.filter { pieces.all[$0].isFirst }
    let slices = (shape.v + tile - 1) / tile
    try Threads.tryForEach(firsts.count * slices) { task in
      let panel = try Scratch(floats: shape.k * tile)
      let first = task % slices * tile
      let columns = first..<min(first + tile, shape.v)
      let start = firsts[task / slices]
      let end = task / slices + 1 < firsts.count ? firsts[task / slices + 1] : pieces.count
      let steps = backward ? (start + 1..<end).reversed() : Array(start..<end - 1)
      for index in steps {
        let state = states.base + index * size
        carry(
          index, state, addingTo: backward ? state - size : state + size, columns: columns,
          transposed: backward, panel: panel.base)
      }
    }
  }

  /// target += M source, or Mᵀ source, for some columns.
  private func carry(
    _ index: Int, _ source: Rows, addingTo target: Rows, columns: Range<Int>, transposed: Bool,
    panel: Rows
  ) {
    let (k, v, tile, kernels) = (shape.k, shape.v, shape.tile, shape.kernels)
    let (map, first) = (maps.base + index * mapSize, columns.lowerBound)
    if shape.erases {
      kernels.pack(k, columns.count, source + first, v, 1, panel, k * tile)
      kernels.product(
        k, columns.count, k, map, transposed ? 1 : k, transposed ? k : 1, panel, k * tile,
        target + first, v, tile, 1)
      return
    }
    for d in 0..<k {
      kernels.axpy(columns.count, map[d], source + d * v + first, target + d * v + first)
    }
  }
}
