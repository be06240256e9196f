import AttentionCPUKernels
import AttentionTensors

/// The tokens of one chunk in float32: the rows of the call's tensors, and the reads and writes of
/// ``ChunkShape`` that are derived from them.
final class ChunkTokens {
  typealias Rows = UnsafeMutablePointer<Float>
  typealias Piece = RecurrenceReader.Piece

  /// The tensors of a call that have a row per token.
  private enum Stream: Int, CaseIterable {
    case queries, keys, values, decay, firstUpdate, secondUpdate
    /// The gradient of the outputs.
    case incoming
  }

  /// The part of a chunk that a pass needs.
  enum Part: Int, CaseIterable {
    case everything
    case queries
    /// The rows that change the state.
    case writes
    /// The rows that propagate a gradient back to the state.
    case reads
  }

  private let shape: ChunkShape
  private let kernels: cpu_kernels
  private let length: Int
  /// [chunk, width] of each stream.
  private var rows: [Rows]
  /// [chunk, k] each: unit vectors, if the call normalises.
  private let unitQueries, unitKeys: Rows
  /// [chunk] each: the inverse norms.
  let queryNorms, keyNorms: Rows
  /// −βk [chunk, k] and βv [chunk, v]: delta rule only.
  private let erasedKeys, weightedValues: Rows
  /// Prefetches the next chunk.
  let ahead: RowsAhead
  /// Whether there is memory for the next chunk, so that ``load(_:_:then:)`` prefetches it.
  private let looksAhead: Bool

  /// The tensor of each stream; nil if the call has none.
  private var tensors: [RowsAhead.Source?] = []
  private var streams: [[Stream]] = []
  private var reader: RecurrenceReader?

  /// - Parameters:
  ///   - length: the largest number of tokens.
  ///   - looksAhead: whether chunks follow each other.
  ///   - hasIncoming: whether the gradient of the outputs is read.
  init(
    _ shape: ChunkShape, length: Int, looksAhead: Bool, hasIncoming: Bool = false,
    _ arena: inout Arena
  ) {
    self.shape = shape
    self.length = length
    self.looksAhead = looksAhead
    kernels = shape.kernels
    let (k, v, isDelta) = (shape.k, shape.v, shape.update == .delta)
    let widths = Stream.allCases.map { stream in
      switch stream {
      case .queries, .keys: k
      case .values: v
      case .decay: max(1, shape.decayWidth)
      case .firstUpdate: isDelta ? 1 : shape.erases ? k : 0
      case .secondUpdate: shape.isLowRank ? k : 0
      case .incoming: hasIncoming ? v : 0
      }
    }
    rows = widths.map { arena.take(length * $0) }
    let unit = shape.normalizes ? length : 0
    (unitQueries, unitKeys) = (arena.take(unit * k), arena.take(unit * k))
    (queryNorms, keyNorms) = (arena.take(unit), arena.take(unit))
    (erasedKeys, weightedValues) = (
      arena.take(isDelta ? length * k : 0), arena.take(isDelta ? length * v : 0)
    )
    ahead = RowsAhead(
      widths: looksAhead ? widths : [], length: length, tile: shape.tile, &arena)
  }

  /// From now on, reads the tokens of a call and the gradient of its outputs.
  func read(_ reader: RecurrenceReader, incoming: TokenRows? = nil) {
    self.reader = reader
    tensors = Stream.allCases.map { stream in
      switch stream {
      case .queries: .init(rows: reader.queries, factor: reader.queryFactor)
      case .keys: .init(rows: reader.keys, factor: 1)
      case .values: shape.readsValues ? .init(rows: reader.values, factor: 1) : nil
      case .decay: reader.decay.map { .init(rows: $0, factor: 1) }
      case .firstUpdate:
        reader.update.first.map {
          .init(rows: $0, factor: shape.update == .generalizedDelta ? -1 : 1)
        }
      case .secondUpdate: reader.update.dropFirst().first.map { .init(rows: $0, factor: 1) }
      case .incoming: incoming.map { .init(rows: $0, factor: 1) }
      }
    }
    if reader.decay == nil { decay.update(repeating: 0, count: length) }
    streams = Part.allCases.map { part in
      Stream.allCases.filter { tensors[$0.rawValue] != nil && isNeeded($0, for: part) }
    }
  }

  private func isNeeded(_ stream: Stream, for part: Part) -> Bool {
    switch part {
    case .everything: true
    case .queries: stream == .queries
    case .writes: stream != .queries && stream != .incoming
    // Additive updates solve nothing.
    case .reads: stream != .values && (shape.erases || stream != .keys)
    }
  }
}

extension ChunkTokens {
  private func row(_ stream: Stream) -> Rows { rows[stream.rawValue] }

  /// q [chunk, k], scaled.
  var queries: Rows { shape.normalizes ? unitQueries : rawQueries }
  /// [chunk, k]
  var keys: Rows { shape.normalizes ? unitKeys : rawKeys }
  /// Before normalisation.
  var rawQueries: Rows { row(.queries) }
  var rawKeys: Rows { row(.keys) }
  /// [chunk, v]
  var values: Rows { row(.values) }
  /// [chunk, 1 or k]: logarithms of the decay, zeros without decay.
  var decay: Rows { row(.decay) }
  /// β [chunk], delta rule only.
  var beta: Rows { row(.firstUpdate) }
  /// r [chunk, k]
  var readKeys: Rows { shape.update == .delta ? erasedKeys : row(.firstUpdate) }
  /// b [chunk, k], low rank only.
  var writeKeys: Rows { row(.secondUpdate) }
  /// [chunk, v]: the source of u; for a low rank, the values.
  var sources: Rows { shape.update == .delta ? weightedValues : values }
  /// dO [chunk, v], zero where fewer tokens are read than written.
  var incoming: Rows { row(.incoming) }

  /// x of each of ``ChunkShape/reads``.
  var reads: [UnsafePointer<Float>] {
    let queries = UnsafePointer(queries)
    return shape.erases ? [queries, UnsafePointer(readKeys)] : [queries]
  }

  /// z of each of ``ChunkShape/writes``.
  var writes: [UnsafePointer<Float>] {
    let keys = UnsafePointer(keys)
    return shape.isLowRank ? [UnsafePointer(writeKeys), keys] : [keys]
  }
}

extension ChunkTokens {
  /// Loads the part of `piece` that a pass needs, and prefetches the same part of `next`, the chunk
  /// to be loaded after it. If `piece` reads fewer tokens than it has, the remaining queries are
  /// zero.
  func load(_ piece: Piece, _ part: Part, then next: Piece? = nil) {
    for stream in streams[part.rawValue] {
      guard let source = tensors[stream.rawValue] else { continue }
      let place = place(of: stream, piece)
      if looksAhead {
        ahead.take(stream.rawValue, source, place, into: &rows[stream.rawValue])
      } else {
        source.load(place, to: rows[stream.rawValue])
      }
    }
    derive(piece.count, part)
    guard let next, looksAhead else { return }
    ahead.ask(
      streams[part.rawValue].compactMap { stream in
        tensors[stream.rawValue].map { (stream.rawValue, $0, place(of: stream, next)) }
      })
  }

  private func place(of stream: Stream, _ piece: Piece) -> RowsAhead.Place {
    let head = stream == .queries || stream == .keys ? piece.queryHead : piece.head
    let isRead = stream == .queries || stream == .incoming
    return RowsAhead.Place(
      row: piece.row, head: head, tokens: isRead ? piece.reading : piece.tokens,
      count: piece.count)
  }

  private func derive(_ count: Int, _ part: Part) {
    let (k, v) = (shape.k, shape.v)
    if shape.normalizes, let reader {
      if part != .writes {
        reader.normalizeQueries(count, rawQueries, to: unitQueries, norms: queryNorms)
      }
      if isNeeded(.keys, for: part) {
        reader.normalizeKeys(count, rawKeys, to: unitKeys, norms: keyNorms)
      }
    }
    guard shape.update == .delta, part != .queries else { return }
    erasedKeys.update(from: keys, count: count * k)
    kernels.scale_rows(count, k, beta, 1, erasedKeys, k)
    kernels.scale(count * k, -1, erasedKeys)
    guard shape.readsValues, part != .reads else { return }
    weightedValues.update(from: values, count: count * v)
    kernels.scale_rows(count, v, beta, 1, weightedValues, v)
  }

  /// Backpropagates gradients of queries and keys [count, k] to the tensors of the call, in place.
  ///
  /// - Parameter work: scratch, [count + 1, k].
  func chain(_ count: Int, queryGradient: Rows, keyGradient: Rows, work: Rows) {
    reader?.backward(
      count, self, queryGradient: queryGradient, keyGradient: keyGradient, scratch: work)
  }
}
