import AttentionCPUKernels
import AttentionTensors

/// The tensors of an erasing update as the chunked and step kernels read them: with
///
///     r   what reads the state, so that u = source + what r finds there
///     z   what u is written with
///
/// the delta rule is r = −βk, source = βv, z = k; the generalised one r = −y, source = v, z = k; and
/// of a low rank r = a finds what b is to write, with no source, beside k vᵀ.
final class ErasingReader: Sendable {
  let tokens: RecurrenceReader
  let update: LinearProblem.Update
  private let kernels: cpu_kernels
  /// The update's tensors.
  private let rows: [TokenRows]

  init(_ call: LinearArguments, _ kernels: cpu_kernels) throws {
    self.kernels = kernels
    tokens = try RecurrenceReader(call, kernels)
    update = call.problem.update
    rows = try call.update.tensors.map { try TokenRows($0, kernels) }
  }

  /// Whether u is written beside k vᵀ and not in its place.
  var isLowRank: Bool { update == .lowRank }

  /// When queries and r read.
  var reads: [ChunkScores.Moment] { [.afterWrite, isLowRank ? .beforeDecay : .afterDecay] }

  /// How many are written.
  var writes: Int { isLowRank ? 2 : 1 }

  /// Loads tensor `index` of the update.
  func load(_ index: Int, _ piece: RecurrenceReader.Piece, to target: UnsafeMutablePointer<Float>) {
    rows[index].load(row: piece.row, tokens: piece.tokens, head: piece.head, to: target)
  }

  /// Asks for the tensors of the update to be near for a later load.
  func ask(_ piece: RecurrenceReader.Piece) {
    for rows in rows { rows.ask(row: piece.row, tokens: piece.tokens, head: piece.head) }
  }
}

/// The tokens of one chunk of an erasing recurrence in float32.
final class ErasingTokens {
  typealias Rows = UnsafeMutablePointer<Float>

  let reader: ErasingReader
  let tokens: ChunkTokens
  private let kernels: cpu_kernels
  private let scratch: Scratch
  /// r [chunk, k]
  let readKeys: Rows
  /// b [chunk, k], low rank only.
  let writeKeys: Rows
  /// [chunk, v]: what u is without the state; nothing for a low rank.
  let sources: Rows
  /// β [chunk], delta rule only.
  let beta: Rows

  /// Floats of a chunk of `length` tokens.
  static func size(_ length: Int, keyDimension k: Int, valueDimension v: Int) -> Int {
    ChunkTokens.size(length, keyDimension: k, valueDimension: v) + length * (2 * k + v + 1)
  }

  init(
    _ reader: ErasingReader, _ kernels: cpu_kernels, length: Int, looksAhead: Bool = false
  ) throws {
    self.reader = reader
    self.kernels = kernels
    tokens = try ChunkTokens(reader.tokens, length: length, looksAhead: looksAhead)
    let (k, v) = (reader.tokens.keyDimension, reader.tokens.valueDimension)
    scratch = try Scratch(floats: length * (2 * k + v + 1))
    readKeys = scratch.base
    writeKeys = readKeys + length * k
    sources = writeKeys + length * k
    beta = sources + length * v
  }

  /// What reads the state: queries and r.
  var reads: [UnsafePointer<Float>] {
    [UnsafePointer(tokens.queries), UnsafePointer(readKeys)]
  }

  /// What is written: z, and the keys beside it.
  var writes: [UnsafePointer<Float>] {
    let keys = UnsafePointer(tokens.keys)
    return reader.isLowRank ? [UnsafePointer(writeKeys), keys] : [keys]
  }

  /// Begins to bring all of `piece` near, or only what changes the state; goes on with
  /// ``ChunkTokens/advance()``.
  func ask(_ piece: RecurrenceReader.Piece?, onlyWrites: Bool = false) {
    guard let piece else { return }
    reader.ask(piece)
    if onlyWrites {
      tokens.askWrites(piece)
    } else {
      tokens.askAll(piece)
    }
  }

  /// Everything but the queries: all that changes the state.
  func loadWrites(_ piece: RecurrenceReader.Piece) {
    tokens.loadWrites(piece)
    let (k, v) = (reader.tokens.keyDimension, reader.tokens.valueDimension)
    let count = piece.count
    switch reader.update {
    case .lowRank:
      reader.load(0, piece, to: readKeys)
      reader.load(1, piece, to: writeKeys)
    case .delta:
      reader.load(0, piece, to: beta)
      sources.update(from: tokens.values, count: count * v)
      kernels.scale_rows(count, v, beta, 1, sources, v)
      readKeys.update(from: tokens.keys, count: count * k)
      kernels.scale_rows(count, k, beta, 1, readKeys, k)
      kernels.scale(count * k, -1, readKeys)
    default:
      reader.load(0, piece, to: readKeys)
      kernels.scale(count * k, -1, readKeys)
      sources.update(from: tokens.values, count: count * v)
    }
  }
}
