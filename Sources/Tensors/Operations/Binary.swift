import CPUKernels

extension Tensor {
  /// Applies `operation` to the elements of two tensors that broadcast to one shape.
  private static func combine(_ name: String, _ operation: cpu_binary, _ a: Tensor, _ b: Tensor)
    throws -> Tensor
  {
    guard a.dtype == b.dtype, a.dtype != .bool else {
      throw TensorError.invalidArgument(
        "operands of \(name)", was: "\(a.dtype.rawValue) and \(b.dtype.rawValue)",
        mustBe: "numbers of one dtype")
    }
    let dtype = a.dtype
    if dtype.isHalfPrecision {
      return try combine(name, operation, a.cast(to: .float32), b.cast(to: .float32))
        .cast(to: dtype)
    }
    let kernels = InstructionSet.current.kernels
    let shape = try Shape.broadcasting(a.shape, b.shape)
    let left = try a.expanded(to: shape)
    let right = try b.expanded(to: shape)
    let loop = StridedLoop(
      shape: shape, strides: [shape.contiguousStrides, left.strides, right.strides])
    return try Tensor.filling(shape, dtype: dtype) { target in
      left.withUnsafeRawPointer { x in
        right.withUnsafeRawPointer { y in
          // Rows of the result are contiguous unless the result is one element long.
          func run<T>(
            _ type: T.Type,
            _ kernel: (
              cpu_binary, Int, UnsafePointer<T>, Int, UnsafePointer<T>, Int, UnsafeMutablePointer<T>
            ) -> Void
          ) {
            loop.forEachPiece { length, offsets in
              kernel(
                operation, length, x.assumingMemoryBound(to: T.self) + offsets[1],
                loop.rowStrides[1], y.assumingMemoryBound(to: T.self) + offsets[2],
                loop.rowStrides[2], target.assumingMemoryBound(to: T.self) + offsets[0])
            }
          }
          switch dtype {
          case .float32: run(Float.self, kernels.binary_f32)
          case .float64: run(Double.self, kernels.binary_f64)
          case .int32: run(Int32.self, kernels.binary_i32)
          default: run(Int64.self, kernels.binary_i64)
          }
        }
      }
    }
  }

  private static func differentiable(
    _ name: String, _ operation: cpu_binary, _ a: Tensor, _ b: Tensor,
    _ derivative:
      @escaping @Sendable (_ a: Tensor, _ b: Tensor, _ g: Tensor) throws -> (Tensor, Tensor)
  ) throws -> Tensor {
    let (x, y) = (a.detached(), b.detached())
    return try combine(name, operation, x, y).recorded(from: [a, b]) { g in
      let (dx, dy) = try derivative(x, y, g)
      return [try dx.summed(to: x.shape), try dy.summed(to: y.shape)]
    }
  }

  public static func + (a: Tensor, b: Tensor) throws -> Tensor {
    try differentiable("+", CPU_ADD, a, b) { _, _, g in (g, g) }
  }
  public static func - (a: Tensor, b: Tensor) throws -> Tensor {
    try differentiable("-", CPU_SUBTRACT, a, b) { _, _, g in (g, try -g) }
  }
  public static func * (a: Tensor, b: Tensor) throws -> Tensor {
    try differentiable("*", CPU_MULTIPLY, a, b) { x, y, g in (try g * y, try g * x) }
  }
  /// Integers divided by zero give zero.
  public static func / (a: Tensor, b: Tensor) throws -> Tensor {
    try differentiable("/", CPU_DIVIDE, a, b) { x, y, g in
      let quotient = try g / y
      return (quotient, try -(quotient * (x / y)))
    }
  }
  /// The larger of each pair; the gradient goes to the first where both are equal.
  public func maximum(_ other: Tensor) throws -> Tensor {
    try Tensor.differentiable("maximum", CPU_MAXIMUM, self, other) { x, y, g in
      let zero = try Tensor.zeros([], dtype: g.dtype)
      let second = try y.isGreater(than: x)
      return (try .select(second, zero, g), try .select(second, g, zero))
    }
  }
  /// The smaller of each pair; the gradient goes to the first where both are equal.
  public func minimum(_ other: Tensor) throws -> Tensor {
    try Tensor.differentiable("minimum", CPU_MINIMUM, self, other) { x, y, g in
      let zero = try Tensor.zeros([], dtype: g.dtype)
      let second = try x.isGreater(than: y)
      return (try .select(second, zero, g), try .select(second, g, zero))
    }
  }

  public static func + (a: Tensor, b: Double) throws -> Tensor {
    try a + .full([], b, dtype: a.dtype)
  }
  public static func - (a: Tensor, b: Double) throws -> Tensor {
    try a - .full([], b, dtype: a.dtype)
  }
  public static func * (a: Tensor, b: Double) throws -> Tensor {
    try a * .full([], b, dtype: a.dtype)
  }
  public static func / (a: Tensor, b: Double) throws -> Tensor {
    try a / .full([], b, dtype: a.dtype)
  }
}
