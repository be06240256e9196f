/// Tensors without elements, to validate and explain calls from shapes and dtypes alone.
extension Tensor {
  /// A tensor that takes no memory, whatever its shape. Views, conversions and copies of it are
  /// placeholders too; reading its elements throws.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if the size of the elements overflows.
  package static func placeholder(
    _ shape: Shape, dtype: DType, device: Device = .cpu
  ) throws -> Tensor {
    _ = try shape.validated(elementSize: dtype.size)
    return Tensor(
      storage: .absent(device), shape: shape, strides: shape.contiguousStrides, offset: 0,
      dtype: dtype)
  }

  /// Whether this tensor has no elements, only a shape, dtype and device.
  package var isPlaceholder: Bool {
    if case .absent = storage { true } else { false }
  }

  /// A placeholder of the same shape, dtype and device, tracked if this tensor is.
  package func withoutElements() throws -> Tensor {
    let description = try Tensor.placeholder(shape, dtype: dtype, device: device)
    return isTracked ? description.tracked() : description
  }

  /// Cumulative lengths of sequences as equal as possible, `total` tokens together; zeros if `shape` is not
  /// that of cumulative lengths.
  package static func evenLengths(_ shape: Shape, total: Int) throws -> Tensor {
    guard shape.rank == 1, shape[0] > 1 else { return try .zeros(shape, dtype: .int32) }
    let sequences = shape[0] - 1
    let (each, rest) = total.quotientAndRemainder(dividingBy: sequences)
    return try Tensor((0...sequences).map { Int32(clamping: each * $0 + min(rest, $0)) }, shape)
  }
}
