import AttentionTensors

/// The tokens of one chunk in float32.
final class ChunkTokens {
  typealias Rows = UnsafeMutablePointer<Float>
  typealias Piece = RecurrenceReader.Piece

  let reader: RecurrenceReader
  private let scratch: Scratch
  /// [chunk, k] each: scaled queries and keys, and what they were before normalisation where the
  /// call asks for it.
  private(set) var queries, keys, rawQueries, rawKeys: Rows
  /// [chunk, v]
  private(set) var values: Rows
  /// [chunk, 1 or k]: logarithms of the decay, zeros without decay.
  private(set) var decay: Rows
  /// [chunk] each: the reciprocal norms.
  let queryNorms, keyNorms: Rows

  /// What brings the next chunk near, and the numbers of its tensors; nil without looking ahead.
  private var ahead: RowsAhead?
  private enum Stream: Int { case queries, keys, values, decay }
  /// The number of a tensor beside them.
  private var incomingStream: Int?

  /// Floats of a chunk of `length` tokens.
  static func size(_ length: Int, keyDimension: Int, valueDimension: Int) -> Int {
    length * (5 * keyDimension + valueDimension + 2)
  }

  /// Floats of the chunk after it, with `incoming` rows of the values' width beside it.
  static func aheadSize(
    _ length: Int, _ problem: LinearProblem, incoming: Bool = false
  ) -> Int {
    let (k, v) = (problem.keyDimension, problem.valueDimension)
    let decay = problem.decay == .perChannel ? k : problem.decay == .none ? 0 : 1
    return length * (2 * k + (incoming ? 2 : 1) * v + decay)
  }

  /// - Parameter looksAhead: whether ``askAll(_:)`` and its like will be called.
  init(_ reader: RecurrenceReader, length: Int, looksAhead: Bool = false) throws {
    self.reader = reader
    let (k, v) = (reader.keyDimension, reader.valueDimension)
    scratch = try Scratch(floats: Self.size(length, keyDimension: k, valueDimension: v))
    queries = scratch.base
    keys = queries + length * k
    rawQueries = keys + length * k
    rawKeys = rawQueries + length * k
    decay = rawKeys + length * k
    values = decay + length * k
    queryNorms = values + length * v
    keyNorms = queryNorms + length
    decay.update(repeating: 0, count: length * k)
    guard looksAhead else { return }
    let ahead = RowsAhead(length: length)
    _ = try ahead.add(reader.queries, factor: reader.queryFactor)
    _ = try ahead.add(reader.keys)
    _ = try ahead.add(reader.values)
    if let decay = reader.decay { _ = try ahead.add(decay) }
    self.ahead = ahead
  }

  /// Scaled queries, zero where the piece reads fewer tokens than it has.
  func loadQueries(_ piece: Piece) {
    guard reader.normalizes else { return load(.queries, reader.queries, piece, into: &queries) }
    load(.queries, reader.queries, piece, into: &rawQueries)
    reader.normalizeQueries(piece.count, rawQueries, to: queries, norms: queryNorms)
  }

  func loadDecay(_ piece: Piece) {
    if let rows = reader.decay { load(.decay, rows, piece, into: &decay) }
  }

  /// Keys, values and decay: all that changes the state.
  func loadWrites(_ piece: Piece) {
    if reader.normalizes {
      load(.keys, reader.keys, piece, into: &rawKeys)
      reader.normalizeKeys(piece.count, rawKeys, to: keys, norms: keyNorms)
    } else {
      load(.keys, reader.keys, piece, into: &keys)
    }
    load(.values, reader.values, piece, into: &values)
    loadDecay(piece)
  }

  private func load(_ stream: Stream, _ rows: TokenRows, _ piece: Piece, into target: inout Rows) {
    let place = place(of: stream, piece)
    if let ahead {
      ahead.take(stream.rawValue, place, into: &target)
    } else {
      rows.load(
        row: place.row, tokens: place.tokens, head: place.head, count: place.count,
        factor: stream == .queries ? reader.queryFactor : 1, to: target)
    }
  }

  private func place(of stream: Stream, _ piece: Piece) -> RowsAhead.Place {
    switch stream {
    case .queries: place(piece, piece.queryHead, piece.reading)
    case .keys: place(piece, piece.queryHead, piece.tokens)
    case .values, .decay: place(piece, piece.head, piece.tokens)
    }
  }

  private func place(_ piece: Piece, _ head: Int, _ tokens: Range<Int>) -> RowsAhead.Place {
    RowsAhead.Place(row: piece.row, head: head, tokens: tokens, count: piece.count)
  }
}

/// The chunk that comes next. Where these are called ``advance()`` is, between products, as often as
/// there are tensors.
extension ChunkTokens {
  /// Adds the gradient of the outputs to what is looked ahead for.
  func addIncoming(_ incoming: TokenRows) throws {
    incomingStream = try ahead?.add(incoming)
  }

  /// The gradient of the outputs that a piece reads, [count, v], zero where it reads fewer tokens.
  func loadIncoming(_ piece: Piece, into target: inout Rows) {
    guard let ahead, let incomingStream else { return }
    ahead.take(incomingStream, place(piece, piece.head, piece.reading), into: &target)
  }

  /// Begins to bring near all of `piece` that a later load takes.
  func askAll(_ piece: Piece?) { ask(piece, [.queries, .keys, .values, .decay], true) }

  /// The same of what changes the state.
  func askWrites(_ piece: Piece?) { ask(piece, [.keys, .values, .decay], false) }

  /// The same of what flows back to the state.
  func askReads(_ piece: Piece?) { ask(piece, [.queries, .decay], true) }

  /// Goes on with it.
  func advance() { ahead?.advance() }

  private func ask(_ piece: Piece?, _ streams: [Stream], _ withIncoming: Bool) {
    guard let piece else { return }
    var places = streams.filter { $0 != .decay || reader.decay != nil }.map {
      (stream: $0.rawValue, place: place(of: $0, piece))
    }
    if withIncoming, let incomingStream {
      places.append((incomingStream, place(piece, piece.head, piece.reading)))
    }
    ahead?.ask(places)
  }
}
