import AttentionCPUKernels
import AttentionTensors

/// The gated scan in blocks of tokens that threads process in parallel, for few sequences of few
/// channels. The effect of a block on a state is a factor and a summand per channel:
///
///     h_end = e^{Σ g} ⊙ h_begin + (the end of a scan of the block from zero)
///
/// A first pass computes both for every block, a scan over the blocks gives their initial states, and a
/// second pass scans every block from its initial state. Memory is read twice.
struct BlockedScan: GatedScanKernel {
  let name = "cpu.blocked"

  /// The fewest tokens of a block.
  private static let leastBlock = 64
  /// The most blocks of a batch row, unless they would be shorter than ``leastBlock``.
  private static let mostBlocks = 64

  func objection(to problem: GatedScanProblem) -> Objection? {
    if let objection = SinglePassScan.objection(to: problem) { return objection }
    return problem.length > Self.leastBlock
      ? nil
      : Objection(
        "\(problem.length) tokens; needs more than a block of \(Self.leastBlock)")
  }

  /// Tokens per block, a function of the problem alone.
  private static func blockLength(_ problem: GatedScanProblem) -> Int {
    max(leastBlock, problem.length.pieces(of: mostBlocks))
  }

  func cost(of problem: GatedScanProblem) -> Cost {
    let block = Self.blockLength(problem)
    let pieces = problem.batch * problem.length.pieces(of: block) + problem.sequences
    let passes = problem.needsGradient ? 4.0 : 2
    let again = Double(problem.elements * (problem.dtype.size + problem.decayDType.size))
    var cost = Cost(
      operations: Double(problem.elements) * SinglePassScan.operations * passes,
      bytes: problem.bytes + again * (problem.needsGradient ? 2 : 1),
      extraMemory: pieces * problem.channels * 3 * MemoryLayout<Float>.size,
      efficiency: SinglePassScan.efficiency, overhead: 8e-6, pieces: pieces)
    cost.note = "blocks of \(block) tokens at the same time; inputs are read twice"
    return cost
  }

  func forward(_ call: GatedScanArguments) throws -> GatedScanOutputs {
    let kernels = InstructionSet.current.kernels
    let d = call.problem.channels
    let (x, g) = (try ScanRows(reading: call.inputs), try ScanRows(reading: call.decay))
    let past = call.writesPastCaches(call.problem.dtype)
    let blocks = try Blocks(call, length: Self.blockLength(call.problem))
    let tensors = try Tensor.filling([
      (shape: call.inputs.shape, dtype: call.problem.dtype),
      (shape: call.stateShape, dtype: .float32),
    ]) { pointers in
      let y = try ScanRows(writing: pointers[0], call.inputs.shape, call.problem.dtype)
      let states = pointers[1].assumingMemoryBound(to: Float.self)
      try call.copy(call.initialState, to: states)
      Threads.forEach(blocks.all.count) { index in
        let block = blocks.all[index]
        blocks.clear(index)
        kernels.scan_carry(
          x.type, g.type, 0, block.tokens.count, d, x.at(block.row, block.tokens.lowerBound, 0),
          x.stride, g.at(block.row, block.tokens.lowerBound, 0), g.stride, blocks.ends(index),
          blocks.totals(index))
      }
      blocks.join(states, kernels, backwards: false)
      Threads.forEach(blocks.all.count) { index in
        let block = blocks.all[index]
        kernels.scan(
          x.type, g.type, past, block.tokens.count, d,
          x.at(block.row, block.tokens.lowerBound, 0), x.stride,
          g.at(block.row, block.tokens.lowerBound, 0), g.stride, blocks.starts(index),
          y.at(block.row, block.tokens.lowerBound, 0), y.stride)
      }
      // The states after the last block of each sequence.
      for index in blocks.all.indices where blocks.isLast(index) {
        (states + blocks.all[index].sequence * d).update(from: blocks.starts(index), count: d)
      }
    }
    return GatedScanOutputs(output: tensors[0], finalState: tensors[1])
  }

  func backward(
    _ call: GatedScanArguments, _ outputs: GatedScanOutputs, _ incoming: GatedScanOutputs
  ) throws -> GatedScanGradients {
    let (outputGradient, finalStateGradient) = (incoming[.output], incoming[.finalState])
    let d = call.problem.channels
    let pass = try ScanBackward(call, outputs, outputGradient)
    let blocks = try Blocks(call, length: Self.blockLength(call.problem))
    return try pass.run(finalStateGradient) { targets, states in
      let (dy, g) = (pass.incoming, pass.decay)
      Threads.forEach(blocks.all.count) { index in
        let block = blocks.all[index]
        blocks.clear(index)
        pass.kernels.scan_carry(
          dy.type, g.type, 1, block.tokens.count, d, dy.at(block.row, block.tokens.lowerBound, 0),
          dy.stride, g.at(block.row, block.tokens.lowerBound, 0), g.stride, blocks.ends(index),
          blocks.totals(index))
      }
      blocks.join(states, pass.kernels, backwards: true)
      try Threads.tryForEach(blocks.all.count) { index in
        let block = blocks.all[index]
        let before = try Scratch(floats: d)
        if blocks.isFirst(index) {
          before.base.update(from: pass.initialState(of: block.sequence), count: d)
        } else {
          pass.state(block.row, block.tokens.lowerBound - 1, to: before.base)
        }
        pass.run(
          block.row, block.tokens, 0..<d, first: before.base, gradient: blocks.starts(index),
          to: targets)
      }
      for index in blocks.all.indices where blocks.isFirst(index) {
        (states + blocks.all[index].sequence * d).update(from: blocks.starts(index), count: d)
      }
    }
  }
}

/// The blocks of all sequences, those of one sequence contiguous, with three vectors per block and one
/// more for scratch.
private struct Blocks: @unchecked Sendable {
  struct Block {
    let sequence: Int
    let row: Int
    let tokens: Range<Int>
  }

  let all: [Block]
  private let channels: Int
  private let memory: Scratch

  init(_ call: GatedScanArguments, length: Int) throws {
    all = call.sequences.enumerated().flatMap { number, sequence in
      let (first, end) = (sequence.tokens.lowerBound, sequence.tokens.upperBound)
      return stride(from: first, to: end, by: length).map {
        Block(sequence: number, row: sequence.row, tokens: $0..<min($0 + length, end))
      }
    }
    channels = call.problem.channels
    memory = try Scratch(floats: (3 * all.count + 1) * channels)
  }

  private func vector(_ kind: Int, _ index: Int) -> UnsafeMutablePointer<Float> {
    memory.base + (kind * all.count + index) * channels
  }

  /// The state after a scan of the block from zero.
  func ends(_ index: Int) -> UnsafeMutablePointer<Float> { vector(0, index) }
  /// The sum of its log-decays.
  func totals(_ index: Int) -> UnsafeMutablePointer<Float> { vector(1, index) }
  /// The state before the block, which the second pass replaces by the state after it.
  func starts(_ index: Int) -> UnsafeMutablePointer<Float> { vector(2, index) }

  func isFirst(_ index: Int) -> Bool {
    index == 0 || all[index - 1].sequence != all[index].sequence
  }
  func isLast(_ index: Int) -> Bool {
    index + 1 == all.count || all[index + 1].sequence != all[index].sequence
  }

  func clear(_ index: Int) {
    ends(index).update(repeating: 0, count: channels)
    totals(index).update(repeating: 0, count: channels)
  }

  /// Computes the initial states of all blocks from `states` [n, d], those of the sequences.
  func join(_ states: UnsafePointer<Float>, _ kernels: cpu_kernels, backwards: Bool) {
    for position in all.indices {
      let index = backwards ? all.count - 1 - position : position
      let begins = backwards ? isLast(index) : isFirst(index)
      guard begins else {
        let before = backwards ? index + 1 : index - 1
        // One row of a scan: the state after a block is e^total times that before it, plus its end.
        starts(index).update(from: starts(before), count: channels)
        kernels.scan(
          CPU_F32, CPU_F32, 0, 1, channels, ends(before), channels, totals(before), channels,
          starts(index), vector(3, 0), channels)
        continue
      }
      starts(index).update(from: states + all[index].sequence * channels, count: channels)
    }
  }
}
