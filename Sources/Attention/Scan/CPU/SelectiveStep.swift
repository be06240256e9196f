import AttentionCPUKernels
import AttentionTensors

/// The selective scan in its step form, forward only, on states in the layout of calls: for decoding, where
/// a call has one token or a few.
struct SelectiveStep: SelectiveScanKernel {
  let name = "cpu.step"

  /// Channels per strip.
  private static let stripChannels = 256
  /// The fewest exponentials for which a task pays off.
  private static let groupExponentials = 1 << 15
  private static let operations = 20.0
  /// Each channel's states are summed across lanes.
  private static let efficiency = 0.35

  func objection(to problem: SelectiveScanProblem) -> Objection? {
    if let objection = SelectiveTiles.objection(to: problem) { return objection }
    return problem.needsGradient
      ? Objection("computes no gradients") : nil
  }

  func cost(of problem: SelectiveScanProblem) -> Cost {
    let pieces = problem.sequences * Strips(problem.channels, width: Self.stripChannels).count
    return Cost(
      operations: problem.exponentials * Self.operations, bytes: problem.bytes,
      extraMemory: min(pieces, Threads.count) * Self.stripChannels * 4
        * MemoryLayout<Float>.size,
      efficiency: Self.efficiency, overhead: 2e-6, pieces: pieces)
  }

  func forward(_ call: SelectiveScanArguments) throws -> SelectiveScanOutputs {
    let reader = try SelectiveReader(call)
    let (d, s) = (call.problem.channels, call.problem.states)
    let strips = Strips(d, width: Self.stripChannels)
    let count = call.sequences.count * strips.count
    let work = Int(call.problem.exponentials) / max(1, count)
    let group = max(1, Self.groupExponentials / max(1, work))
    let tensors = try Tensor.filling([
      (shape: call.inputs.shape, dtype: call.problem.dtype),
      (shape: call.stateShape, dtype: .float32),
    ]) { pointers in
      let y = try ScanRows(writing: pointers[0], call.inputs.shape, call.problem.dtype)
      let states = pointers[1].assumingMemoryBound(to: Float.self)
      try Threads.tryForEach(count.pieces(of: group)) { index in
        let scratch = try Scratch(floats: 4 * Self.stripChannels)
        for piece in index * group..<min((index + 1) * group, count) {
          let (number, channels) = (piece / strips.count, strips[piece % strips.count])
          let first = (number * d + channels.lowerBound) * s
          try run(reader, number, channels, scratch.base, states + first, first, to: y)
        }
      }
    }
    return SelectiveScanOutputs(output: tensors[0], finalState: tensors[1])
  }

  /// Steps `channels` of sequence `number` through its tokens.
  ///
  /// - Parameters:
  ///   - scratch: four rows of the channels.
  ///   - states: `[channels, s]`: the final states, which begin at index `first` of all.
  private func run(
    _ reader: SelectiveReader, _ number: Int, _ channels: Range<Int>,
    _ scratch: UnsafeMutablePointer<Float>, _ states: UnsafeMutablePointer<Float>, _ first: Int,
    to y: ScanRows
  ) throws {
    let call = reader.call
    let (s, width) = (call.problem.states, Self.stripChannels)
    let sequence = call.sequences[number]
    if sequence.tokens.isEmpty || call.initialState == nil {
      if let initial = call.initialState {
        try initial.withUnsafePointer(to: Float.self) {
          states.update(from: $0 + first, count: channels.count * s)
        }
      } else {
        states.update(repeating: 0, count: channels.count * s)
      }
    }
    // The first token reads the initial state in place.
    var before = UnsafePointer(states)
    if let initial = call.initialState {
      before = try initial.withUnsafePointer(to: Float.self) { $0 + first }
    }
    for token in sequence.tokens {
      let tokens = token..<token + 1
      let x = reader.load(reader.inputs, sequence.row, tokens, channels, scratch)
      let raw = reader.load(reader.step, sequence.row, tokens, channels, scratch + width)
      let step = reader.makeStep(raw, 1, channels, scratch + 2 * width)
      let matrices = (sequence.row * call.problem.length + token) * s
      reader.kernels.selective_step(
        channels.count, s, x.base, step.base, reader.stateMatrix + channels.lowerBound * s,
        reader.inputMatrix + matrices, reader.outputMatrix + matrices,
        reader.skip.map { $0 + channels.lowerBound }, before, states, scratch + 3 * width)
      reader.store(scratch + 3 * width, sequence.row, tokens, channels, to: y)
      before = UnsafePointer(states)
    }
  }

  func backward(
    _ call: SelectiveScanArguments, _ outputs: SelectiveScanOutputs,
    _ incoming: SelectiveScanOutputs
  ) throws -> SelectiveScanGradients {
    throw AttentionError.kernelObjects(
      name, Objection("computes no gradients"))
  }
}
