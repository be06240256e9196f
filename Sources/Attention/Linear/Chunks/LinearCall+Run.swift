import CPUKernels
import Tensors

extension LinearCall {
  /// Makes the outputs of the call and calls `body` for each recurrence, on several threads.
  ///
  /// - Parameter body: is given the recurrence, its state [k, v], which holds the initial state and
  ///   must hold the final one afterwards, and where output rows go.
  func fillOutputs(
    _ kernels: cpu_kernels,
    _ body: @Sendable (Int, UnsafeMutablePointer<Float>, TokenRowsOutput) throws -> Void
  ) throws -> LinearOutputs {
    let stateSize = problem.keyDimension * problem.valueDimension
    let tensors = try Tensor.filling([
      (shape: outputShape, dtype: problem.dtype), (shape: stateShape, dtype: .float32),
    ]) { pointers in
      let output = try TokenRowsOutput(pointers[0], outputShape, problem.dtype, kernels)
      let states = pointers[1].assumingMemoryBound(to: Float.self)
      try Threads.tryForEach(problem.recurrences) { index in
        let state = states + index * stateSize
        try copyInitialState(index, to: state)
        try body(index, state, output)
      }
    }
    return LinearOutputs(output: tensors[0], finalState: tensors[1])
  }
}
