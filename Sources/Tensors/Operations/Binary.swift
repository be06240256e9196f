import AttentionCPUKernels

extension Tensor {
  /// Applies `operation` to the elements of two tensors that broadcast to a common shape.
  private static func combine(_ name: String, _ operation: cpu_binary, _ a: Tensor, _ b: Tensor)
    throws -> Tensor
  {
    guard a.dtype == b.dtype, a.dtype != .bool else {
      throw TensorError.invalidArgument(
        "operands of \(name)", was: "\(a.dtype.rawValue) and \(b.dtype.rawValue)",
        mustBe: "numbers of one dtype")
    }
    let dtype = a.dtype
    let device = try Tensor.device(of: [a, b], name)
    if device != .cpu { return try combineOnDevice(.plain(operation), a, b, dtype, device) }
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
      try left.withUnsafeRawPointer { x in
        try right.withUnsafeRawPointer { y in
          // Rows of the result are contiguous unless they have one element.
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

  typealias Pullback =
    @Sendable (_ g: Tensor, _ history: OperationHistory) throws -> Tensor

  /// Applies `operation`; `left` and `right` turn its gradient into those of the operands, before broadcast
  /// axes are summed. Only the needed ones are kept.
  static func differentiable(
    _ name: String, _ operation: cpu_binary, _ a: Tensor, _ b: Tensor, _ left: @escaping Pullback,
    _ right: @escaping Pullback
  ) throws -> Tensor {
    let (aShape, bShape) = (a.shape, b.shape)
    let (aDevice, bDevice) = (a.device, b.device)
    let left = a.isTracked ? left : nil
    let right = b.isTracked ? right : nil
    return try combine(name, operation, a.detached(), b.detached()).recorded(from: [a, b]) {
      g, history in
      [
        try left?(g, history).summed(to: aShape).moved(to: aDevice),
        try right?(g, history).summed(to: bShape).moved(to: bDevice),
      ]
    }
  }

  /// The sum of two tensors that broadcast to a common shape. Integers wrap.
  public static func + (a: Tensor, b: Tensor) throws -> Tensor {
    try differentiable("+", CPU_ADD, a, b, { g, _ in g }, { g, _ in g })
  }
  /// The difference. Integers wrap.
  public static func - (a: Tensor, b: Tensor) throws -> Tensor {
    try differentiable("-", CPU_SUBTRACT, a, b, { g, _ in g }, { g, _ in try -g })
  }
  /// The product, element by element. Integers wrap.
  public static func * (a: Tensor, b: Tensor) throws -> Tensor {
    let (x, y) = (a.detached(), b.detached())
    return try differentiable(
      "*", CPU_MULTIPLY, a, b, { g, history in try g * history.input(1, y) },
      { g, history in try g * history.input(0, x) })
  }
  /// The quotient. Integer quotients are truncated; division by zero gives zero.
  public static func / (a: Tensor, b: Tensor) throws -> Tensor {
    let (x, y) = (a.detached(), b.detached())
    return try differentiable(
      "/", CPU_DIVIDE, a, b, { g, history in try g / history.input(1, y) },
      { g, history in
        let (x, y) = try (history.input(0, x), history.input(1, y))
        return try -(g / y * (x / y))
      })
  }
  /// The larger of each pair, NaN if either is NaN; where both are equal the gradient goes to the first.
  public func maximum(_ other: Tensor) throws -> Tensor {
    let (x, y) = (detached(), other.detached())
    return try Tensor.differentiable(
      "maximum", CPU_MAXIMUM, self, other,
      { g, _ in try .select(y.isGreater(than: x), .zeros([], dtype: g.dtype), g) },
      { g, _ in try .select(y.isGreater(than: x), g, .zeros([], dtype: g.dtype)) })
  }
  /// The smaller of each pair, NaN if either is NaN; where both are equal the gradient goes to the first.
  public func minimum(_ other: Tensor) throws -> Tensor {
    let (x, y) = (detached(), other.detached())
    return try Tensor.differentiable(
      "minimum", CPU_MINIMUM, self, other,
      { g, _ in try .select(x.isGreater(than: y), .zeros([], dtype: g.dtype), g) },
      { g, _ in try .select(x.isGreater(than: y), g, .zeros([], dtype: g.dtype)) })
  }

  public static func + (a: Tensor, b: Double) throws -> Tensor {
    try a.combined(with: b, "+", CPU_ADD) { try $0 + $1 }
  }
  public static func - (a: Tensor, b: Double) throws -> Tensor {
    try a.combined(with: b, "-", CPU_SUBTRACT) { try $0 - $1 }
  }
  public static func * (a: Tensor, b: Double) throws -> Tensor {
    try a.combined(with: b, "*", CPU_MULTIPLY) { try $0 * $1 }
  }
  public static func / (a: Tensor, b: Double) throws -> Tensor {
    try a.combined(with: b, "/", CPU_DIVIDE) { try $0 / $1 }
  }

  /// Applies `operation` to this tensor and a number. The number is not rounded to half precision: such
  /// tensors are computed in float32.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if the tensor has integers and the number is
  ///   not an integer.
  private func combined(
    with number: Double, _ name: String, _ kind: cpu_binary,
    _ operation: @escaping @Sendable (Tensor, Tensor) throws -> Tensor
  ) throws -> Tensor {
    if dtype.isHalfPrecision, device != .cpu {
      // GPU kernels compute in float32 and round once.
      let result = try Tensor.combineOnDevice(
        .plain(kind), detached(), .full([], number), dtype, device)
      let scales = kind == CPU_MULTIPLY || kind == CPU_DIVIDE
      return result.recorded(from: [self]) { g, _ in
        [scales ? try g.combined(with: number, name, kind, operation) : g]
      }
    }
    if dtype.isHalfPrecision {
      return try operation(cast(to: .float32), .full([], number)).cast(to: dtype)
    }
    guard dtype.isFloatingPoint || Int64(exactly: number) != nil else {
      throw TensorError.invalidArgument(
        "number of \(name)", was: "\(number)", mustBe: "whole, as the tensor is \(dtype.rawValue)")
    }
    return try operation(self, .full([], number, dtype: dtype))
  }
}
