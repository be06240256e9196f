import AttentionCPUKernels
import AttentionTensors

/// The forward and backward pass of the additive recurrence over pieces of sequences whose states
/// are known, each piece a task.
final class AdditivePasses: Sendable {
  typealias Rows = UnsafeMutablePointer<Float>

  let call: LinearArguments
  let kernels: cpu_kernels
  let product: PanelProduct
  let reader: RecurrenceReader

  init(_ call: LinearArguments) throws {
    self.call = call
    kernels = InstructionSet.current.kernels
    product = PanelProduct(kernels: kernels, for: call.problem.dtype)
    reader = try RecurrenceReader(call, kernels)
  }

  private var stateSize: Int { reader.keyDimension * reader.valueDimension }

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
        TokenRowsOutput(pointers[0], call.outputShape, dtype, kernels))
    }
    return LinearOutputs(output: tensors[0], finalState: tensors[1])
  }

  /// - Parameter states: `[pieces, k, v]`: the state before each piece, and afterwards that behind it.
  func run(_ pieces: SequencePieces, states: Rows, to output: TokenRowsOutput) throws {
    let tasks = TaskPlan(pieces.count, stateSize: stateSize, tokens: pieces.longest)
    try Threads.tryForEach(tasks.count) { task in
      let recurrence = try ChunkedForward(reader, product)
      for index in tasks[task] {
        let piece = pieces.all[index]
        let bonus = try TokenBonus(call, reader, kernels, head: piece.head)
        let state = states + index * stateSize
        if piece.isFirst, let first = piece.chunks.first {
          bonus?.readFirst(first, state, to: output)
        }
        recurrence.run(piece.chunks, state, bonus: bonus, to: output)
      }
    }
  }
}

extension AdditivePasses {
  /// What the backward pass reads and writes beside the states.
  struct Gradients {
    /// dO, read as rows.
    let incoming: TokenRows
    /// [n, hv, k, v]
    let finalState: Tensor
    let targets: ChunkedBackward.Targets
    /// [n, hv, k, v]: to be filled.
    let initialState: Rows
    /// [pieces, k]: what each piece gives to the bonus of its head.
    let bonus: Scratch
  }

  /// - Parameter run: fills the gradient of the initial states, and the others by
  ///   ``run(_:states:gradients:_:)``.
  func backward(
    _ pieces: SequencePieces, outputGradient: Tensor?, finalStateGradient: Tensor?,
    _ run: (Gradients) throws -> Void
  ) throws -> LinearGradients {
    let problem = call.problem
    let incoming = try (outputGradient ?? .zeros(call.outputShape)).contiguous()
    let finalState = try (finalStateGradient ?? .zeros(call.stateShape)).contiguous()
    let bonus = try Scratch(floats: pieces.count * reader.keyDimension)

    // Gradients of value heads that share a query head are added in float32, before rounding.
    let keyShape = Shape([problem.batch, problem.length, problem.valueHeads, reader.keyDimension])
    let keyDType = problem.heads == problem.valueHeads ? problem.dtype : .float32
    let decayShape = Shape(keyShape.dimensions[..<3] + [max(1, reader.decayWidth)])
    let hasDecay = reader.decayWidth > 0
    let tensors = try Tensor.filling([
      (shape: keyShape, dtype: keyDType), (shape: keyShape, dtype: keyDType),
      (shape: call.outputShape, dtype: problem.dtype), (shape: call.stateShape, dtype: .float32),
      (shape: hasDecay ? decayShape : [0, 0, 0, 0], dtype: .float32),
    ]) { pointers in
      let targets = ChunkedBackward.Targets(
        queries: try TokenRowsOutput(pointers[0], keyShape, keyDType, kernels),
        keys: try TokenRowsOutput(pointers[1], keyShape, keyDType, kernels),
        values: try TokenRowsOutput(pointers[2], call.outputShape, problem.dtype, kernels),
        decay: hasDecay
          ? try TokenRowsOutput(pointers[4], decayShape, .float32, kernels) : nil)
      try run(
        Gradients(
          incoming: TokenRows(incoming, kernels), finalState: finalState, targets: targets,
          initialState: pointers[3].assumingMemoryBound(to: Float.self), bonus: bonus))
    }
    return LinearGradients(
      of: call, queries: tensors[0], keys: tensors[1], values: tensors[2],
      decay: hasDecay ? tensors[4] : nil, update: try bonusGradient(pieces, bonus),
      initialState: call.initialState == nil ? nil : tensors[3])
  }

  /// - Parameters:
  ///   - states: `[pieces, k, v]`: the state before each piece.
  ///   - stateGradients: `[pieces, k, v]`: the gradient of the state behind each piece, and afterwards
  ///     of that before it.
  func run(
    _ pieces: SequencePieces, states: Rows, gradients stateGradients: Rows, _ gradients: Gradients
  ) throws {
    try Threads.tryForEach(pieces.count) { index in
      let piece = pieces.all[index]
      let bonus = try TokenBonus(call, reader, kernels, head: piece.head)
      let (state, gradient) = (states + index * stateSize, stateGradients + index * stateSize)
      let recurrence = try ChunkedBackward(reader, product, chunks: piece.chunks.count)
      try recurrence.run(
        piece.chunks, initialState: state, gradient: gradient, incoming: gradients.incoming,
        bonus: bonus, to: gradients.targets)
      if piece.isFirst, let first = piece.chunks.first {
        try bonus?.readFirstBackward(
          first, state, gradient, incoming: gradients.incoming, to: gradients.targets.queries)
      }
      bonus?.copyGradient(to: gradients.bonus.base + index * reader.keyDimension)
    }
  }

  /// [hv, k], the pieces added in their order; nothing for updates without a bonus.
  private func bonusGradient(_ pieces: SequencePieces, _ parts: Scratch) throws -> [Tensor] {
    guard call.problem.update == .additiveBefore else { return [] }
    let k = reader.keyDimension
    var sums = [Float](repeating: 0, count: call.problem.valueHeads * k)
    for (index, piece) in pieces.all.enumerated() {
      for d in 0..<k { sums[piece.head * k + d] += parts.base[index * k + d] }
    }
    return [try Tensor(sums, [call.problem.valueHeads, k])]
  }
}
