import AttentionCPUKernels
import AttentionTensors

/// The selective scan in tiles of 64 channels and 64 tokens: all states of a tile stay in the first
/// cache while its tokens are processed. The backward pass recomputes the states of a tile from a
/// checkpoint before its first token.
struct SelectiveTiles: SelectiveScanKernel {
  let name = "cpu.scan"

  /// Tokens between checkpoints, and channels of a tile.
  static let tileTokens = 64
  static let tileChannels = 64
  /// The most partial sums over channels.
  private static let mostParts = 16

  /// Per exponential, including the update and the read of its state.
  private static let operations = 20.0
  /// The backward pass recomputes the states and uses everything twice.
  private static let trainingFactor = 3.5
  /// Transposing a sequence's states and matrix, so that channels are adjacent, and back.
  private static let turningOperations = 40.0
  private static let efficiency = 0.8

  func objection(to problem: SelectiveScanProblem) -> Objection? { Self.objection(to: problem) }

  /// The objection of kernels that compute in float32.
  static func objection(to problem: SelectiveScanProblem) -> Objection? {
    problem.dtype == .float64
      ? Objection("needs float32, bfloat16 or float16 inputs, was float64") : nil
  }

  func cost(of problem: SelectiveScanProblem) -> Cost {
    let tiles = problem.sequences * Strips(problem.channels, width: Self.tileChannels).count
    let states = problem.sequences * problem.channels * problem.states
    let parts = Self.parts(problem).count
    let size = MemoryLayout<Float>.size
    let perToken =
      problem.channels * problem.states / Self.tileTokens + 2 * parts * problem.states
    return Cost(
      operations: problem.exponentials * Self.operations
        * (problem.needsGradient ? Self.trainingFactor : 1)
        + Double(states) * Self.turningOperations, bytes: problem.bytes,
      extraMemory: min(tiles, Threads.count) * SelectiveTile.floats(problem) * size
        + (problem.needsGradient ? problem.batch * problem.length * perToken * size : 0),
      efficiency: Self.efficiency, overhead: 5e-6,
      pieces: problem.needsGradient ? problem.sequences * parts : tiles)
  }

  /// Channels whose sums are added one after the other: whole tiles.
  private static func parts(_ problem: SelectiveScanProblem) -> Strips {
    let tiles = Strips(problem.channels, width: tileChannels).count
    return Strips(
      problem.channels, width: tiles.pieces(of: mostParts) * tileChannels)
  }

  func forward(_ call: SelectiveScanArguments) throws -> SelectiveScanOutputs {
    let reader = try SelectiveReader(call)
    let tiles = Strips(call.problem.channels, width: Self.tileChannels)
    let checkpoints = SelectiveCheckpoints(call)
    let keeps = call.problem.needsGradient
    let tensors = try Tensor.filling([
      (shape: call.inputs.shape, dtype: call.problem.dtype),
      (shape: call.stateShape, dtype: .float32),
      (shape: keeps ? checkpoints.shape : [0, 0], dtype: .float32),
    ]) { pointers in
      let y = try ScanRows(writing: pointers[0], call.inputs.shape, call.problem.dtype)
      let states = pointers[1].assumingMemoryBound(to: Float.self)
      let kept = pointers[2].assumingMemoryBound(to: Float.self)
      try Threads.tryForEach(call.sequences.count * tiles.count) { index in
        let (number, channels) = (index / tiles.count, tiles[index % tiles.count])
        let tile = try SelectiveTile(reader, channels)
        tile.loadMatrix()
        try tile.load(call.initialState, number, to: tile.states)
        let row = call.sequences[number].row
        let pieces = checkpoints.pieces(of: number)
        for (index, (place, tokens)) in pieces.enumerated() {
          tile.prefetch(
            row, index + 1 < pieces.count ? pieces[index + 1].tokens : nil, writing: [y])
          if keeps { tile.save(tile.states, to: checkpoints.at(kept, place, channels)) }
          tile.forward(row, tokens, to: y)
        }
        tile.store(tile.states, number, to: states)
      }
    }
    return SelectiveScanOutputs(
      output: tensors[0], finalState: tensors[1], checkpoints: keeps ? tensors[2] : nil)
  }

  func backward(
    _ call: SelectiveScanArguments, _ outputs: SelectiveScanOutputs,
    _ incoming: SelectiveScanOutputs
  ) throws -> SelectiveScanGradients {
    let (outputGradient, finalStateGradient) = (incoming[.output], incoming[.finalState])
    guard let kept = outputs[.checkpoints] else {
      throw AttentionError.kernelObjects(
        name, Objection("the forward pass kept no checkpoints, because no gradients were needed"))
    }
    let problem = call.problem
    let reader = try SelectiveReader(call)
    let incoming = try outputGradient?.withDenseRows()
    let dy = try incoming.map { try ScanRows(reading: $0) }
    let finalGradient = try finalStateGradient?.contiguous()
    let checkpoints = SelectiveCheckpoints(call)
    let parts = Self.parts(problem)
    let (d, s) = (problem.channels, problem.states)
    let sums: Shape = [parts.count, problem.batch, problem.length, s]
    let tensors = try Tensor.filling([
      (shape: call.inputs.shape, dtype: problem.dtype),
      (shape: call.inputs.shape, dtype: call.step.dtype),
      (shape: call.stateShape, dtype: .float32), (shape: call.stateShape, dtype: .float32),
      (shape: sums, dtype: .float32), (shape: sums, dtype: .float32),
      (shape: [problem.sequences, d], dtype: .float32),
      (shape: [problem.sequences, d], dtype: .float32),
    ]) { pointers in
      let dx = try ScanRows(writing: pointers[0], call.inputs.shape, problem.dtype)
      let dstep = try ScanRows(writing: pointers[1], call.inputs.shape, call.step.dtype)
      let floats = pointers[2...].map { $0.assumingMemoryBound(to: Float.self) }
      let saved = try kept.withUnsafePointer(to: Float.self) { $0 }
      try Threads.tryForEach(call.sequences.count * parts.count) { index in
        let (number, part) = (index / parts.count, index % parts.count)
        let sequence = call.sequences[number]
        let rows = (part * problem.batch + sequence.row) * problem.length
        let (db, dc) = (floats[2] + rows * s, floats[3] + rows * s)
        for sum in [db, dc] {
          (sum + sequence.tokens.lowerBound * s).update(
            repeating: 0, count: sequence.tokens.count * s)
        }
        let channels = parts[part]
        for first in stride(
          from: channels.lowerBound, to: channels.upperBound, by: Self.tileChannels)
        {
          let tile = try SelectiveTile(
            reader, first..<min(first + Self.tileChannels, channels.upperBound))
          tile.loadMatrix()
          try tile.load(finalGradient, number, to: tile.stateGradient)
          tile.clearSums()
          let pieces = checkpoints.pieces(of: number)
          for (index, (place, tokens)) in pieces.enumerated().reversed() {
            tile.prefetch(
              sequence.row, index > 0 ? pieces[index - 1].tokens : nil,
              reading: [dy].compactMap { $0 }, writing: [dx, dstep])
            tile.restore(checkpoints.at(saved, place, tile.channels))
            tile.backward(
              sequence.row, tokens, dy, db + tokens.lowerBound * s, dc + tokens.lowerBound * s,
              to: dx, dstep)
          }
          tile.store(tile.stateGradient, number, to: floats[0])
          tile.store(tile.matrixGradient, number, to: floats[1])
          tile.storeSums(
            skip: floats[4] + number * d + first, bias: floats[5] + number * d + first)
        }
      }
    }
    return [
      .inputs: tensors[0], .step: tensors[1], .stateMatrix: try tensors[3].sum([0]),
      .inputMatrix: try tensors[4].sum([0]), .outputMatrix: try tensors[5].sum([0]),
      .skip: try tensors[6].sum([0]), .stepBias: try tensors[7].sum([0]),
      .initialState: tensors[2],
    ]
  }
}

/// The layout of the states before each piece of all sequences, those of one tile of channels
/// contiguous.
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
