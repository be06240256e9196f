import CUDA
import Tensors

/// The backward pass of `cuda.hopper`, which is linear attention again. With dO the gradient of the output and e
/// what decays between two tokens,
///
///     dq_i = scale · Σ_{j ≤ i} e_ij (dO_i · v_j) k_j     queries dO, keys V, values K, forward
///     dv_j = scale · Σ_{i ≥ j} e_ij (k_j · q_i) dO_i     queries K, keys Q, values dO, reversed
///     dk_j = scale · Σ_{i ≥ j} e_ij (v_j · dO_i) q_i     queries V, keys dO, values Q, reversed
///
/// and the states of the first and the last are those of the other passes, transposed.
struct HopperBackward {
  private let linear: DeviceLinear
  private let splits: Bool

  private var call: LinearCall { linear.call }

  init(_ call: LinearCall, splits: Bool) throws {
    linear = try DeviceLinear(call)
    self.splits = splits
  }

  /// Whether it computes the gradients of `problem`, to whose forward pass there is no objection.
  static func serves(_ problem: LinearProblem) -> Bool {
    problem.update == .additive && problem.decay == .none && !problem.normalizesQueriesAndKeys
      && HopperKernel.keyDimensions.contains(problem.valueDimension)
  }

  /// What its passes multiply.
  static func shapes(_ problem: LinearProblem) -> [HopperTile.Shape] {
    let (k, v) = (problem.keyDimension, problem.valueDimension)
    return [(v, k), (k, v), (v, k)].map {
      HopperTile.Shape(keyDimension: $0, valueDimension: $1, decays: problem.decay != .none)
    }
  }

  func run(outputGradient: Tensor?, finalStateGradient: Tensor?) throws -> LinearGradients {
    let problem = call.problem
    let incoming =
      try outputGradient?.withDenseRows()
      ?? .zeros(call.outputShape, dtype: problem.dtype, device: call.device)
    let final = try finalStateGradient?.contiguous()
    let rows: Shape = [
      problem.batch, problem.length, problem.valueHeads, problem.keyDimension,
    ]
    let queries = try linear.fresh(rows, problem.dtype)
    let keys = try linear.fresh(rows, problem.dtype)
    let values = try linear.fresh(call.outputShape, problem.dtype)
    let initialState = try call.initialState.map { _ in try linear.fresh(call.stateShape) }
    let passes = [
      HopperPass(
        queries: incoming, keys: call.values, values: call.keys, output: queries,
        initialState: call.initialState, hasTransposedStates: true),
      HopperPass(
        queries: call.keys, keys: call.queries, values: incoming, output: values, isReversed: true,
        initialState: final, finalState: initialState),
      HopperPass(
        queries: call.values, keys: incoming, values: call.queries, output: keys, isReversed: true,
        initialState: final, hasTransposedStates: true),
    ]
    for pass in passes { try pass.run(linear, splits: splits) }
    return LinearGradients(
      queries: queries, keys: keys, values: values, decay: nil, initialState: initialState)
  }
}
