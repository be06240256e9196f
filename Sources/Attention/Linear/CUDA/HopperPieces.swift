import Tensors

/// How sequences are cut into pieces for `cuda.hopper.split`.
///
/// Into how many depends on a sequence's own length, the heads and the device: what else is in the batch
/// changes nothing.
struct HopperPieces {
  /// A piece has at least so many chunks: its state has to be found first, and passed on.
  private static let leastChunks = 8

  let pieces: [TokenSequence]
  /// The number of each sequence's first piece, and of all.
  let first: [Int32]

  /// - Parameters:
  ///   - valueDimension: the columns of the states.
  ///   - isReversed: whether a sequence's last piece comes first.
  init(
    _ call: LinearCall, valueDimension: Int, _ multiprocessors: Int, isReversed: Bool = false
  ) {
    var pieces: [TokenSequence] = []
    var first: [Int32] = []
    for sequence in call.sequences {
      first.append(Int32(pieces.count))
      let tokens = sequence.tokens
      let step = Self.length(
        tokens.count, heads: call.problem.valueHeads, valueDimension, multiprocessors)
      let own = stride(from: tokens.lowerBound, to: tokens.upperBound, by: step).map {
        TokenSequence(row: sequence.row, tokens: $0..<min($0 + step, tokens.upperBound))
      }
      pieces += isReversed ? own.reversed() : own
    }
    first.append(Int32(pieces.count))
    self.pieces = pieces
    self.first = first
  }

  /// Tokens of a piece of a sequence: so many pieces that the heads of one sequence fill the device once.
  private static func length(
    _ tokens: Int, heads: Int, _ valueDimension: Int, _ multiprocessors: Int
  ) -> Int {
    let wide = 2 * HopperTile.groupColumns
    let blocks = heads * valueDimension.pieces(of: wide)
    let chunks = tokens.pieces(of: HopperTile.chunk)
    let wanted = max(1, multiprocessors / blocks)
    return max(leastChunks, chunks.pieces(of: wanted)) * HopperTile.chunk
  }

  /// The pieces of a sequence of the problem's mean length.
  static func count(_ problem: LinearProblem, _ multiprocessors: Int) -> Int {
    let tokens = (problem.batch * problem.length).pieces(of: max(1, problem.sequences))
    return max(
      1,
      tokens.pieces(
        of: length(
          tokens, heads: problem.valueHeads, problem.valueDimension, multiprocessors)))
  }
}
