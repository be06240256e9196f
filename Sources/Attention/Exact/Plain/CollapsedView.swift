import Tensors

extension Tensor {
  /// The view of `target` that was expanded to this one: the first of each broadcast axis.
  func collapsed(to target: Shape) throws -> Tensor {
    var result = self
    for axis in 0..<rank {
      let own = axis - (rank - target.rank)
      if own < 0 || target[own] != shape[axis] { result = try result.sliced(axis, 0..<1) }
    }
    return try result.reshaped(target)
  }
}
