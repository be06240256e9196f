extension Tensor {
  /// A tensor of `values` in row-major order.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if the count does not match the shape.
  public init<T: Scalar>(_ values: [T], _ shape: Shape) throws {
    let count = try shape.validated(elementSize: T.dtype.size)
    guard values.count == count else {
      throw TensorError.invalidArgument(
        "values", was: "\(values.count) numbers", mustBe: "\(count) numbers for shape \(shape)")
    }
    self = try Tensor.filling(shape, as: T.self) { pointer in
      values.withUnsafeBufferPointer {
        if let base = $0.baseAddress { pointer.update(from: base, count: count) }
      }
    }
  }

  /// A tensor with one axis.
  public init<T: Scalar>(_ values: [T]) throws { try self.init(values, [values.count]) }

  /// A tensor with every element equal to `value`, stored once and broadcast.
  public static func full(
    _ shape: Shape, _ value: Double, dtype: DType = .float32, device: Device = .cpu
  ) throws -> Tensor {
    let scalar = try Tensor([value], []).cast(to: dtype).moved(to: device)
    return try scalar.expanded(to: shape)
  }

  public static func zeros(
    _ shape: Shape, dtype: DType = .float32, device: Device = .cpu
  ) throws -> Tensor {
    try full(shape, 0, dtype: dtype, device: device)
  }

  public static func ones(
    _ shape: Shape, dtype: DType = .float32, device: Device = .cpu
  ) throws -> Tensor {
    try full(shape, 1, dtype: dtype, device: device)
  }

  /// The integers from 0 to `count` − 1.
  public static func range(
    _ count: Int, dtype: DType = .int32, device: Device = .cpu
  ) throws -> Tensor {
    try Tensor((0..<Int64(max(0, count))).map { $0 }, [max(0, count)]).cast(to: dtype)
      .moved(to: device)
  }

  /// The elements in row-major order, converted to `type`. Waits for a GPU's pending work.
  public func elements<T: Scalar>(as type: T.Type = T.self) throws -> [T] {
    let source = try detached().moved(to: .cpu).cast(to: T.dtype).contiguous()
    return try source.withUnsafePointer(to: T.self) {
      Array(UnsafeBufferPointer(start: $0, count: source.elementCount))
    }
  }

  /// The element of a tensor that has one.
  public func item() throws -> Double {
    guard elementCount == 1 else {
      throw TensorError.invalidArgument("shape", was: "\(shape)", mustBe: "of one element")
    }
    return try elements(as: Double.self)[0]
  }
}
