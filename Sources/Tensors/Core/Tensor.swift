/// An immutable array of numbers with any number of axes.
///
/// A tensor is a view: shape and strides over shared storage. Views (``transposed(_:_:)``,
/// slices, ``expanded(to:)``) copy nothing. Tensors are values and may be sent between threads.
///
/// A tensor returned by ``tracked()``, or computed from one, records how it was computed, and
/// ``gradients(of:seed:areDifferentiable:)`` differentiates it.
public struct Tensor: Sendable {
  public let shape: Shape
  /// The distance in elements between neighbours on each axis; zero where an axis is broadcast.
  public let strides: [Int]
  public let dtype: DType
  /// Offset of the first element in the storage, in elements.
  let offset: Int
  let storage: Storage
  /// The operation that produced this tensor, if it is recorded on the tape.
  let origin: TapeOutput?

  init(
    storage: Storage, shape: Shape, strides: [Int], offset: Int, dtype: DType,
    origin: TapeOutput? = nil
  ) {
    self.storage = storage
    self.shape = shape
    self.strides = strides
    self.offset = offset
    self.dtype = dtype
    self.origin = origin
  }

  /// Where the elements are, and where operations on them run.
  public var device: Device { storage.device }
  public var rank: Int { shape.rank }
  public var elementCount: Int { shape.elementCount }
  /// The size of the elements in bytes, without gaps; broadcast elements count each time.
  public var byteCount: Int { elementCount * dtype.size }

  /// Whether the elements are in row-major order without gaps.
  public var isContiguous: Bool {
    var expected = 1
    for axis in stride(from: rank - 1, through: 0, by: -1) where shape[axis] != 1 {
      guard strides[axis] == expected || elementCount == 0 else { return false }
      expected *= shape[axis]
    }
    return true
  }

  /// The extent of `axis`; negative axes count from the end.
  public func extent(_ axis: Int) throws -> Int { try shape.extent(axis) }
}

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
