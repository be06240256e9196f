/// Tensors whose numbers do not matter: for questions about a call.
extension Tensor {
  /// Zeros: one row, seen on every other axis, so that operators which ask for dense rows need no copy.
  package static func placeholder(_ shape: Shape, dtype: DType) throws -> Tensor {
    let row = Shape(Array(shape.suffix(1)))
    return try Tensor.zeros(row, dtype: dtype).contiguous().expanded(to: shape)
  }

  /// Cumulative lengths of sequences that are as equal as they can be, `total` tokens together; zeros where
  /// the shape is not that of cumulative lengths.
  package static func evenLengths(_ shape: Shape, total: Int) throws -> Tensor {
    guard shape.rank == 1, shape[0] > 1 else { return try .zeros(shape, dtype: .int32) }
    let sequences = shape[0] - 1
    let (each, rest) = total.quotientAndRemainder(dividingBy: sequences)
    return try Tensor((0...sequences).map { Int32(clamping: each * $0 + min(rest, $0)) }, shape)
  }
}
