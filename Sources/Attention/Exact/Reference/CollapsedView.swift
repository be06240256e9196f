import AttentionTensors

extension Tensor {
  /// The view of shape `target` that was expanded to this one: index 0 of each broadcast axis.
  func collapsed(to target: Shape) throws -> Tensor {
    // Broadcast axes of an empty view may have no index 0; its elements are never read.
    guard elementCount > 0 else { return try .zeros(target, dtype: dtype) }
    var result = self
    for axis in 0..<rank {
      let own = axis - (rank - target.rank)
      if own < 0 || target[own] != shape[axis] { result = try result.sliced(axis, 0..<1) }
    }
    return try result.reshaped(target)
  }
}
