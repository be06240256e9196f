import AttentionTensors

/// The layout of the states before each piece of all sequences, those of one tile of channels contiguous.
struct SelectiveCheckpoints: Sendable {
  private let sequences: TokenSequences
  /// The index of the first piece of each sequence, and the number of all pieces.
  private let firsts: [Int]
  private let channels: Int
  private let states: Int

  init(_ call: SelectiveScanArguments) {
    sequences = call.sequences
    channels = call.problem.channels
    states = call.problem.states
    var firsts = [0]
    for sequence in call.sequences {
      let pieces = Strips(sequence.tokens.count, width: SelectiveTiles.tileTokens).count
      firsts.append(firsts[firsts.count - 1] + pieces)
    }
    self.firsts = firsts
  }

  var shape: Shape { [firsts[firsts.count - 1], channels * states] }

  /// The pieces of sequence `number`: their indices among all, and their tokens.
  func pieces(of number: Int) -> [(place: Int, tokens: Range<Int>)] {
    let tokens = sequences[number].tokens
    let strips = Strips(tokens.count, width: SelectiveTiles.tileTokens)
    return (0..<strips.count).map { index in
      let piece = strips[index]
      return (
        firsts[number] + index,
        tokens.lowerBound + piece.lowerBound..<tokens.lowerBound + piece.upperBound
      )
    }
  }

  /// The states [s, channels] before a piece.
  func at(
    _ base: UnsafePointer<Float>, _ place: Int, _ tile: Range<Int>
  ) -> UnsafeMutablePointer<Float> {
    UnsafeMutablePointer(mutating: base) + (place * channels + tile.lowerBound) * states
  }
}
