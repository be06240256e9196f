import AttentionCUDAKernels
import AttentionTensors

/// How sequences are split into pieces for `cuda.hopper.split`.
///
/// The number of pieces depends on a sequence's own length, the heads and the device, not on the rest of the
/// batch.
struct HopperPieces {
  /// The fewest chunks of a piece, because the states before pieces must be computed first.
  private static let leastChunks = 8

  /// The pieces, from the first token to the last.
  private(set) var pieces: [TokenSequence] = []
  /// The index of each sequence's first piece, and the number of all pieces.
  private(set) var first: [Int32] = []
  /// The index of each piece's first chunk, and of its first segment (``HopperFlows``).
  private(set) var firstChunks: [Int] = []
  /// The index of the sequence that ends with a piece; −1 if it goes on.
  private var ended: [Int] = []
  private(set) var firstSegments: [Int] = []
  /// The numbers of chunks and segments of all pieces.
  private(set) var (chunks, segments) = (0, 0)

  /// - Parameter multiprocessors: of the device; nil leaves each sequence in one piece.
  init(_ call: LinearArguments, _ multiprocessors: Int?) {
    for (index, sequence) in call.sequences.enumerated() {
      first.append(Int32(pieces.count))
      for tokens in Self.cut(sequence.tokens, call.problem, multiprocessors) {
        ended.append(tokens.upperBound == sequence.tokens.upperBound ? index : -1)
        pieces.append(TokenSequence(row: sequence.row, tokens: tokens))
        firstChunks.append(chunks)
        firstSegments.append(segments)
        chunks += tokens.count.pieces(of: HopperTile.chunk)
        segments += tokens.count.pieces(of: HopperFlows.segment)
      }
    }
    first.append(Int32(pieces.count))
  }

  /// The same with each sequence's last piece first.
  var reversed: HopperPieces {
    var result = self
    for (start, end) in zip(first, first.dropFirst()) {
      result.pieces[Int(start)..<Int(end)].reverse()
      result.firstChunks[Int(start)..<Int(end)].reverse()
      result.firstSegments[Int(start)..<Int(end)].reverse()
      result.ended[Int(start)..<Int(end)].reverse()
    }
    return result
  }

  /// The pieces in the form that kernels read.
  var onDevice: [LinearSequence] {
    pieces.indices.map {
      LinearSequence(
        pieces[$0], chunk: firstChunks[$0], segment: firstSegments[$0], ended: ended[$0])
    }
  }

  /// The length of the longest piece.
  var longest: Int { pieces.lazy.map(\.tokens.count).max() ?? 0 }

  /// The pieces of a sequence. One that is not split is a piece even if it is empty.
  private static func cut(
    _ tokens: Range<Int>, _ problem: LinearProblem, _ multiprocessors: Int?
  ) -> [Range<Int>] {
    guard let multiprocessors else { return [tokens] }
    let step = length(tokens.count, problem, multiprocessors)
    return stride(from: tokens.lowerBound, to: tokens.upperBound, by: step).map {
      $0..<min($0 + step, tokens.upperBound)
    }
  }

  /// The length of a sequence's pieces, which is such that the heads of one sequence fill the device once.
  private static func length(
    _ tokens: Int, _ problem: LinearProblem, _ multiprocessors: Int
  ) -> Int {
    let wide = 2 * HopperTile.groupColumns
    let blocks = problem.valueHeads * problem.valueDimension.pieces(of: wide)
    let chunks = tokens.pieces(of: HopperTile.chunk)
    let wanted = max(1, multiprocessors / blocks)
    return max(leastChunks, chunks.pieces(of: wanted)) * HopperTile.chunk
  }

  /// The number of pieces of a sequence with the problem's mean length.
  static func count(_ problem: LinearProblem, _ multiprocessors: Int) -> Int {
    let tokens = (problem.batch * problem.length).pieces(of: max(1, problem.sequences))
    return max(1, tokens.pieces(of: length(tokens, problem, multiprocessors)))
  }
}
