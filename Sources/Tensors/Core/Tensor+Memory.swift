extension Tensor {
  /// A contiguous tensor that `fill` writes. The memory is not initialised before.
  ///
  /// This is how every kernel makes its result. `fill` must write all ``elementCount`` elements.
  public static func filling<T: Scalar>(
    _ shape: Shape, as type: T.Type, _ fill: (UnsafeMutablePointer<T>) throws -> Void
  ) throws -> Tensor {
    try filling(shape, dtype: T.dtype) { try fill($0.assumingMemoryBound(to: T.self)) }
  }

  /// A contiguous tensor of `dtype` that `fill` writes. The memory is not initialised before.
  public static func filling(
    _ shape: Shape, dtype: DType, _ fill: (UnsafeMutableRawPointer) throws -> Void
  ) throws -> Tensor {
    let count = try shape.validated(elementSize: dtype.size)
    let storage = try Storage(byteCount: count * dtype.size)
    try fill(storage.base)
    return Tensor(
      storage: storage, shape: shape, strides: shape.contiguousStrides, offset: 0, dtype: dtype)
  }

  /// Contiguous tensors that `fill` writes together, given their addresses in order.
  public static func filling(
    _ results: [(shape: Shape, dtype: DType)],
    _ fill: ([UnsafeMutableRawPointer]) throws -> Void
  ) throws -> [Tensor] {
    let tensors = try results.map { try Tensor.filling($0.shape, dtype: $0.dtype) { _ in } }
    try fill(tensors.map(\.storage.base))
    return tensors
  }

  /// A contiguous tensor over memory that lives as long as `owner`, such as a mapped file.
  static func borrowing(
    _ base: UnsafeRawPointer, shape: Shape, dtype: DType, owner: any Sendable
  ) -> Tensor {
    let storage = Storage(
      borrowing: UnsafeMutableRawPointer(mutating: base),
      byteCount: shape.elementCount * dtype.size, owner: owner)
    return Tensor(
      storage: storage, shape: shape, strides: shape.contiguousStrides, offset: 0, dtype: dtype)
  }

  /// Calls `body` with the address of the first element; the others lie at ``strides``.
  public func withUnsafeRawPointer<R>(_ body: (UnsafeRawPointer) throws -> R) rethrows -> R {
    try withExtendedLifetime(storage) {
      try body(UnsafeRawPointer(storage.base + offset * dtype.size))
    }
  }

  /// Calls `body` with the address of the first element, read as `type`.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if the dtype is another.
  public func withUnsafePointer<T: Scalar, R>(
    to type: T.Type, _ body: (UnsafePointer<T>) throws -> R
  ) throws -> R {
    guard dtype == T.dtype else {
      throw TensorError.invalidArgument(
        "dtype", was: dtype.rawValue, mustBe: T.dtype.rawValue)
    }
    return try withUnsafeRawPointer { try body($0.assumingMemoryBound(to: T.self)) }
  }
}
