import AttentionCPUKernels
import AttentionTensors

/// The division of a call into tasks by kernels that run token by token: a task computes several
/// small recurrences.
struct StepPlan {
  /// Tokens that are read at once.
  let block: Int
  /// Recurrences per task.
  let groupSize: Int
  private let recurrences: Int

  /// The most tokens that are read at once.
  private static let longestBlock = 64
  /// The fewest elements of states times tokens for which a task pays off.
  private static let groupWork = 1 << 15

  init(_ problem: LinearProblem) {
    block = max(1, min(Self.longestBlock, problem.length))
    let work = problem.keyDimension * problem.valueDimension * max(1, problem.length)
    groupSize = max(1, Self.groupWork / work)
    recurrences = problem.recurrences
  }

  /// The number of tasks.
  var groups: Int { (recurrences + groupSize - 1) / groupSize }

  /// Runs a call in parallel.
  ///
  /// - Parameter makeStepper: makes a stepper with memory for `block` tokens, used by one task.
  func forward(
    _ call: LinearArguments, _ kernels: cpu_kernels,
    _ makeStepper: @Sendable (_ block: Int) throws -> TokenStepper
  ) throws -> LinearOutputs {
    let problem = call.problem
    let stateSize = problem.keyDimension * problem.valueDimension
    let pastCaches = PastCaches.flag(bytes: recurrences * stateSize * MemoryLayout<Float>.size)
    let tensors = try Tensor.filling([
      (shape: call.outputShape, dtype: problem.dtype),
      (shape: call.stateShape, dtype: .float32),
    ]) { pointers in
      let output = try TokenRowsOutput(pointers[0], call.outputShape, problem.dtype, kernels)
      let states = pointers[1].assumingMemoryBound(to: Float.self)
      try Threads.tryForEach(groups) { index in
        let stepper = try makeStepper(block)
        for recurrence in index * groupSize..<min((index + 1) * groupSize, recurrences) {
          let state = states + recurrence * stateSize
          let pieces = call.pieces(ofRecurrence: recurrence, length: block)
          try call.withInitialState(recurrence) { initial in
            // The first token reads the initial state in place.
            if initial == nil || pieces.isEmpty { try call.copyInitialState(recurrence, to: state) }
            var before = initial ?? UnsafePointer(state)
            for (index, piece) in pieces.enumerated() {
              stepper.run(
                piece, from: before, state,
                pastCaches: index == pieces.count - 1 ? pastCaches : 0, to: output)
              before = UnsafePointer(state)
            }
          }
        }
      }
    }
    return LinearOutputs(output: tensors[0], finalState: tensors[1])
  }
}
