import AttentionTensors

extension Tensor {
  /// The view of `target` that was expanded to this one: the first of each broadcast axis.
  func collapsed(to target: Shape) throws -> Tensor {
    // Nothing of an empty view is read, and its broadcast axes have no first element to show.
    guard elementCount > 0 else { return try .zeros(target, dtype: dtype) }
    var result = self
    for axis in 0..<rank {
      let own = axis - (rank - target.rank)
      if own < 0 || target[own] != shape[axis] { result = try result.sliced(axis, 0..<1) }
    }
    return try result.reshaped(target)
  }
}
