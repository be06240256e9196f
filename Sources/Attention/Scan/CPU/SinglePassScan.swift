import AttentionCPUKernels
import AttentionTensors

/// The gated scan in one pass over memory, forward and backward: a thread processes the tokens of a sequence,
/// or of a wide strip of its channels, with the states of all channels in its cache.
struct SinglePassScan: GatedScanKernel {
  let name = "cpu.scan"

  /// Bytes per row of a strip: rows of four kilobytes are read nearly as fast as contiguous memory, rows of
  /// two kilobytes half as fast.
  private static let stripBytes = 4096
  /// The fewest elements for which a task pays off.
  private static let groupElements = 1 << 14
  /// An exponential and two multiply-adds per element, twice in the backward pass.
  static let operations = 20.0
  /// The rest of the peak rate is lost to loads and stores around the exponential.
  static let efficiency = 0.2

  func objection(to problem: GatedScanProblem) -> Objection? { Self.objection(to: problem) }

  /// The objection of kernels that compute in float32.
  static func objection(to problem: GatedScanProblem) -> Objection? {
    problem.dtype == .float64
      ? Objection("needs float32, bfloat16 or float16 inputs, was float64") : nil
  }

  func cost(of problem: GatedScanProblem) -> Cost {
    let passes = problem.needsGradient ? 2.0 : 1
    let pieces = problem.sequences * Self.strips(problem).count
    return Cost(
      operations: Double(problem.elements) * Self.operations * passes, bytes: problem.bytes,
      extraMemory: 0, efficiency: Self.efficiency, overhead: 2e-6, pieces: pieces)
  }

  private static func strips(_ problem: GatedScanProblem) -> Strips {
    Strips(problem.channels, width: stripBytes / problem.dtype.size)
  }

  /// Calls `body` in parallel for the strips of all sequences, several small ones per task, with the
  /// sequence, its index, and the channels.
  private func forEachStrip(
    _ call: GatedScanArguments, _ body: (TokenSequence, Int, Range<Int>) -> Void
  ) {
    let strips = Self.strips(call.problem)
    let count = call.sequences.count * strips.count
    let work = max(1, call.problem.elements / max(1, count))
    let group = max(1, Self.groupElements / work)
    Threads.forEach(count.pieces(of: group)) { index in
      for piece in index * group..<min((index + 1) * group, count) {
        let number = piece / strips.count
        body(call.sequences[number], number, strips[piece % strips.count])
      }
    }
  }

  func forward(_ call: GatedScanArguments) throws -> GatedScanOutputs {
    let kernels = InstructionSet.current.kernels
    let (x, g) = (try ScanRows(reading: call.inputs), try ScanRows(reading: call.decay))
    let past = call.writesPastCaches(call.problem.dtype)
    let tensors = try Tensor.filling([
      (shape: call.inputs.shape, dtype: call.problem.dtype),
      (shape: call.stateShape, dtype: .float32),
    ]) { pointers in
      let y = try ScanRows(writing: pointers[0], call.inputs.shape, call.problem.dtype)
      let states = pointers[1].assumingMemoryBound(to: Float.self)
      try call.copy(call.initialState, to: states)
      forEachStrip(call) { sequence, number, channels in
        let (row, first, channel) = (
          sequence.row, sequence.tokens.lowerBound, channels.lowerBound
        )
        kernels.scan(
          x.type, g.type, past, sequence.tokens.count, channels.count, x.at(row, first, channel),
          x.stride, g.at(row, first, channel), g.stride,
          states + number * call.problem.channels + channel, y.at(row, first, channel), y.stride)
      }
    }
    return GatedScanOutputs(output: tensors[0], finalState: tensors[1])
  }

  func backward(
    _ call: GatedScanArguments, _ outputs: GatedScanOutputs, _ incoming: GatedScanOutputs
  ) throws -> GatedScanGradients {
    let (outputGradient, finalStateGradient) = (incoming[.output], incoming[.finalState])
    let pass = try ScanBackward(call, outputs, outputGradient)
    return try pass.run(finalStateGradient) { targets, states in
      forEachStrip(call) { sequence, number, channels in
        pass.run(
          sequence.row, sequence.tokens, channels, first: pass.initialState(of: number),
          gradient: states + number * call.problem.channels, to: targets)
      }
    }
  }
}

/// Channels divided into strips of equal width, except for the last.
struct Strips: Sendable {
  let channels: Int
  let width: Int

  init(_ channels: Int, width: Int) {
    self.channels = channels
    self.width = width
  }

  var count: Int { channels.pieces(of: width) }

  subscript(index: Int) -> Range<Int> { index * width..<min((index + 1) * width, channels) }
}
