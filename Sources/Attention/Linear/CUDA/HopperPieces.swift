import Tensors

/// How sequences are cut into pieces for `cuda.hopper.split`.
///
/// Into how many depends on a sequence's own length, the heads and the device: what else is in the batch
/// changes nothing.
struct HopperPieces {
  /// A piece has at least so many chunks: its state has to be found first, and passed on.
  private static let leastChunks = 8

  /// From the first token to the last.
  private(set) var pieces: [TokenSequence] = []
  /// The number of each sequence's first piece, and of all.
  private(set) var first: [Int32] = []
  /// The number of each piece's first segment (``HopperFlows``).
  private(set) var firstSegments: [Int] = []
  private(set) var segments = 0

  init(_ call: LinearCall, _ multiprocessors: Int) {
    for sequence in call.sequences {
      first.append(Int32(pieces.count))
      let tokens = sequence.tokens
      let step = Self.length(tokens.count, call.problem, multiprocessors)
      for start in stride(from: tokens.lowerBound, to: tokens.upperBound, by: step) {
        let piece = start..<min(start + step, tokens.upperBound)
        pieces.append(TokenSequence(row: sequence.row, tokens: piece))
        firstSegments.append(segments)
        segments += piece.count.pieces(of: HopperFlows.segment)
      }
    }
    first.append(Int32(pieces.count))
  }

  /// The same with each sequence's last piece first.
  var reversed: HopperPieces {
    var result = self
    for (start, end) in zip(first, first.dropFirst()) {
      result.pieces[Int(start)..<Int(end)].reverse()
      result.firstSegments[Int(start)..<Int(end)].reverse()
    }
    return result
  }

  /// Tokens of the longest.
  var longest: Int { pieces.lazy.map(\.tokens.count).max() ?? 0 }

  /// Tokens of a piece of a sequence: so many pieces that the heads of one sequence fill the device once.
  private static func length(
    _ tokens: Int, _ problem: LinearProblem, _ multiprocessors: Int
  ) -> Int {
    let wide = 2 * HopperTile.groupColumns
    let blocks = problem.valueHeads * problem.valueDimension.pieces(of: wide)
    let chunks = tokens.pieces(of: HopperTile.chunk)
    let wanted = max(1, multiprocessors / blocks)
    return max(leastChunks, chunks.pieces(of: wanted)) * HopperTile.chunk
  }

  /// The pieces of a sequence of the problem's mean length.
  static func count(_ problem: LinearProblem, _ multiprocessors: Int) -> Int {
    let tokens = (problem.batch * problem.length).pieces(of: max(1, problem.sequences))
    return max(1, tokens.pieces(of: length(tokens, problem, multiprocessors)))
  }
}
