import AttentionCPUKernels
import AttentionTensors

extension LinearArguments {
  /// Makes the outputs of the call and runs each recurrence, on several threads.
  ///
  /// - Parameter makeRun: what runs recurrences one after the other on a thread. It is given the
  ///   recurrence, its state [k, v], which holds the initial state and must hold the final one afterwards,
  ///   and where output rows go.
  func fillOutputs(
    _ kernels: cpu_kernels,
    _ makeRun: @Sendable () throws -> (Int, UnsafeMutablePointer<Float>, TokenRowsOutput) -> Void
  ) throws -> LinearOutputs {
    let longest = sequences.lazy.map(\.tokens.count).max() ?? 0
    let tasks = TaskPlan(problem.recurrences, stateSize: stateSize, tokens: longest)
    let tensors = try Tensor.filling([
      (shape: outputShape, dtype: problem.dtype), (shape: stateShape, dtype: .float32),
    ]) { pointers in
      let output = try TokenRowsOutput(pointers[0], outputShape, problem.dtype, kernels)
      let states = pointers[1].assumingMemoryBound(to: Float.self)
      try Threads.tryForEach(tasks.count) { task in
        let run = try makeRun()
        for index in tasks[task] {
          let state = states + index * stateSize
          try copyInitialState(index, to: state)
          run(index, state, output)
        }
      }
    }
    return LinearOutputs(output: tensors[0], finalState: tensors[1])
  }
}
