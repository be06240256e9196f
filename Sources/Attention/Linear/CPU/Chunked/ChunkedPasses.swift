import AttentionCPUKernels
import AttentionTensors

/// The forward and backward pass of a recurrence over pieces of sequences whose states are known;
/// each piece is a task.
final class ChunkedPasses: Sendable {
  typealias Rows = UnsafeMutablePointer<Float>

  let call: LinearArguments
  let shape: ChunkShape
  let reader: RecurrenceReader

  init(_ call: LinearArguments, kernels: cpu_kernels? = nil) throws {
    self.call = call
    shape = ChunkShape(call.problem, kernels: kernels ?? InstructionSet.current.kernels)
    reader = try RecurrenceReader(call, shape.kernels)
  }

  private var stateSize: Int { call.stateSize }

  /// - Parameter run: fills the final states [n, hv, k, v], and the output by
  ///   ``run(_:states:to:)``.
  func forward(_ run: (_ finalStates: Rows, TokenRowsOutput) throws -> Void) throws
    -> LinearOutputs
  {
    let dtype = call.problem.dtype
    let tensors = try Tensor.filling([
      (shape: call.outputShape, dtype: dtype), (shape: call.stateShape, dtype: .float32),
    ]) { pointers in
      try run(
        pointers[1].assumingMemoryBound(to: Float.self),
        TokenRowsOutput(pointers[0], call.outputShape, dtype, shape.kernels))
    }
    return LinearOutputs(output: tensors[0], finalState: tensors[1])
  }

  /// - Parameter states: `[pieces, k, v]`: the state before each piece; replaced by that after it.
  func run(_ pieces: SequencePieces, states: Rows, to output: TokenRowsOutput) throws {
    let tasks = TaskPlan(pieces.count, stateSize: stateSize, tokens: pieces.longest)
    try Threads.tryForEach(tasks.count) { task in
      let recurrence = try Arena.place { ChunkedForward(shape, &$0) }
      for index in tasks[task] {
        let piece = pieces.all[index]
        let bonus = try TokenBonus(call, reader, shape, head: piece.head)
        let state = states + index * stateSize
        if piece.isFirst, let first = piece.chunks.first {
          bonus?.readFirst(first, state, to: output)
        }
        recurrence.run(reader, piece.chunks, state, bonus: bonus, to: output)
      }
    }
  }
}

extension ChunkedPasses {
  /// The tensors of the backward pass besides the states.
  struct Gradients {
    /// dO, read as rows.
    let incoming: TokenRows
    /// [n, hv, k, v]
    let finalState: Tensor
    let targets: ChunkedBackward.Targets
    /// [n, hv, k, v], written by the pass.
    let initialState: Rows
    /// [pieces, k]: each piece's share of the gradient of its head's bonus.
    let bonus: Scratch
  }

  /// - Parameter run: fills the gradient of the initial states, and the others by
  ///   ``run(_:states:gradients:_:)``.
  func backward(
    _ pieces: SequencePieces, _ incoming: LinearOutputs, _ run: (Gradients) throws -> Void
  ) throws -> LinearGradients {
    let problem = call.problem
    let outputGradient = try (incoming[.output] ?? .zeros(call.outputShape)).contiguous()
    let finalState = try (incoming[.finalState] ?? .zeros(call.stateShape)).contiguous()
    let bonus = try Scratch(floats: pieces.count * shape.k)

    // Gradients of value heads that share a query head are added in float32, before rounding.
    let keyShape = Shape([problem.batch, problem.length, problem.valueHeads, shape.k])
    let keyDType = problem.heads == problem.valueHeads ? problem.dtype : .float32
    let decayAndUpdate =
      [call.decay].compactMap { $0 } + (shape.erases ? call.update.tensors : [])
    let rows =
      [
        (shape: keyShape, dtype: keyDType), (shape: keyShape, dtype: keyDType),
        (shape: call.outputShape, dtype: problem.dtype),
      ] + decayAndUpdate.map { (shape: $0.shape, dtype: DType.float32) }
    let tensors = try Tensor.filling(rows + [(shape: call.stateShape, dtype: .float32)]) {
      pointers in
      let targets = try zip(pointers, rows).map {
        try TokenRowsOutput($0, $1.shape, $1.dtype, shape.kernels)
      }
      try run(
        Gradients(
          incoming: TokenRows(outputGradient, shape.kernels), finalState: finalState,
          targets: .init(queries: targets[0], others: Array(targets.dropFirst())),
          initialState: pointers[rows.count].assumingMemoryBound(to: Float.self), bonus: bonus))
    }
    let (first, hasDecay) = (3, call.decay != nil)
    let update =
      shape.erases
      ? Array(tensors[(hasDecay ? first + 1 : first)..<rows.count])
      : try bonusGradient(pieces, bonus)
    return LinearGradients(
      of: call, queries: tensors[0], keys: tensors[1], values: tensors[2],
      decay: hasDecay ? tensors[first] : nil, update: update,
      initialState: call.initialState == nil ? nil : tensors[rows.count])
  }

  /// - Parameters:
  ///   - states: `[pieces, k, v]`: the state before each piece.
  ///   - stateGradients: `[pieces, k, v]`: the gradient of the state after each piece; replaced by
  ///     that of the state before it.
  func run(
    _ pieces: SequencePieces, states: Rows, gradients stateGradients: Rows, _ gradients: Gradients
  ) throws {
    try Threads.tryForEach(pieces.count) { index in
      let piece = pieces.all[index]
      let bonus = try TokenBonus(call, reader, shape, head: piece.head)
      let (state, gradient) = (states + index * stateSize, stateGradients + index * stateSize)
      let recurrence = try Arena.place {
        ChunkedBackward(shape, chunks: piece.chunks.count, &$0)
      }
      recurrence.run(
        reader, piece.chunks, initialState: state, gradient: gradient,
        incoming: gradients.incoming, bonus: bonus, to: gradients.targets)
      if piece.isFirst, let first = piece.chunks.first {
        try bonus?.readFirstBackward(
          first, state, gradient, incoming: gradients.incoming, to: gradients.targets.queries)
      }
      bonus?.copyGradient(to: gradients.bonus.base + index * shape.k)
    }
  }

  /// [hv, k], summed over the pieces in their order; empty for updates without a bonus.
  private func bonusGradient(_ pieces: SequencePieces, _ parts: Scratch) throws -> [Tensor] {
    guard shape.update == .additiveBefore else { return [] }
    let k = shape.k
    var sums = [Float](repeating: 0, count: call.problem.valueHeads * k)
    for (index, piece) in pieces.all.enumerated() {
      for d in 0..<k { sums[piece.head * k + d] += parts.base[index * k + d] }
    }
    return [try Tensor(sums, [call.problem.valueHeads, k])]
  }
}
