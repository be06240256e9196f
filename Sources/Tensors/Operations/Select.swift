extension Tensor {
  /// `yes` where `condition` (bool) is true, `no` elsewhere; all three broadcast to a common shape.
  public static func select(_ condition: Tensor, _ yes: Tensor, _ no: Tensor) throws -> Tensor {
    guard condition.dtype == .bool, yes.dtype == no.dtype else {
      throw TensorError.invalidArgument(
        "operands of select",
        was: "\(condition.dtype.rawValue), \(yes.dtype.rawValue) and \(no.dtype.rawValue)",
        mustBe: "bool and two of one dtype")
    }
    let device = try Tensor.device(of: [condition, yes, no], "select")
    let result =
      try device == .cpu
      ? chosen(condition, yes, no) : selectOnDevice(condition, yes, no, device)
    let flags = condition.detached()
    let (yesShape, noShape) = (yes.shape, no.shape)
    let (yesDevice, noDevice) = (yes.device, no.device)
    return result.recorded(from: [yes, no]) { g, _ in
      let zero = try Tensor.zeros([], dtype: g.dtype)
      return [
        try select(flags, g, zero).summed(to: yesShape).moved(to: yesDevice),
        try select(flags, zero, g).summed(to: noShape).moved(to: noDevice),
      ]
    }
  }

  private static func chosen(_ condition: Tensor, _ yes: Tensor, _ no: Tensor) throws -> Tensor {
    let shape = try Shape.broadcasting(
      condition.shape, .broadcasting(yes.shape, no.shape))
    let flags = try condition.detached().expanded(to: shape).contiguous()
    let (a, b) = (
      try yes.detached().expanded(to: shape).contiguous(),
      try no.detached().expanded(to: shape).contiguous()
    )
    return try Tensor.filling(shape, dtype: yes.dtype) { target in
      try flags.withUnsafePointer(to: Bool.self) { flags in
        try a.withUnsafeRawPointer { x in
          try b.withUnsafeRawPointer { y in
            let count = shape.elementCount
            switch yes.dtype.size {
            case 1: choose(UInt8.self, count, flags, x, y, target)
            case 2: choose(UInt16.self, count, flags, x, y, target)
            case 4: choose(UInt32.self, count, flags, x, y, target)
            default: choose(UInt64.self, count, flags, x, y, target)
            }
          }
        }
      }
    }
  }

  /// Whether each element is greater than its counterpart, as bool; false if either is NaN.
  public func isGreater(than other: Tensor) throws -> Tensor {
    try Tensor.compare(self, other, Comparison(isEquality: false, float: >, double: >, integer: >))
  }

  /// Whether each element equals its counterpart, as bool; NaN equals nothing.
  public func isEqual(to other: Tensor) throws -> Tensor {
    try Tensor.compare(
      self, other, Comparison(isEquality: true, float: ==, double: ==, integer: ==))
  }

  /// A relation on the types that represent every dtype exactly.
  private struct Comparison {
    let isEquality: Bool
    let float: (Float, Float) -> Bool
    let double: (Double, Double) -> Bool
    let integer: (Int64, Int64) -> Bool
  }

  private static func compare(_ a: Tensor, _ b: Tensor, _ relation: Comparison) throws -> Tensor {
    guard a.dtype == b.dtype else {
      throw TensorError.invalidArgument(
        "operands of a comparison", was: "\(a.dtype.rawValue) and \(b.dtype.rawValue)",
        mustBe: "of one dtype")
    }
    let device = try Tensor.device(of: [a, b], "a comparison")
    if device != .cpu {
      return try compareOnDevice(a, b, isEquality: relation.isEquality, device)
    }
    switch a.dtype {
    case .float32, .float16, .bfloat16: return try compare(a, b, relation.float)
    case .float64: return try compare(a, b, relation.double)
    case .int32, .int64, .bool: return try compare(a, b, relation.integer)
    }
  }

  private static func compare<T: Scalar>(
    _ a: Tensor, _ b: Tensor, _ relation: (T, T) -> Bool
  ) throws -> Tensor {
    let shape = try Shape.broadcasting(a.shape, b.shape)
    let x = try a.detached().cast(to: T.dtype).expanded(to: shape)
    let y = try b.detached().cast(to: T.dtype).expanded(to: shape)
    let loop = StridedLoop(
      shape: shape, strides: [shape.contiguousStrides, x.strides, y.strides])
    return try Tensor.filling(shape, as: Bool.self) { target in
      try x.withUnsafePointer(to: T.self) { x in
        try y.withUnsafePointer(to: T.self) { y in
          loop.forEachPiece { length, offsets in
            for i in 0..<length {
              target[offsets[0] + i] = relation(
                x[offsets[1] + i * loop.rowStrides[1]], y[offsets[2] + i * loop.rowStrides[2]])
            }
          }
        }
      }
    }
  }
}

/// y[i] = flags[i] ? yes[i] : no[i], on uninterpreted bits.
private func choose<T>(
  _ type: T.Type, _ count: Int, _ flags: UnsafePointer<Bool>, _ yes: UnsafeRawPointer,
  _ no: UnsafeRawPointer, _ target: UnsafeMutableRawPointer
) {
  let yes = yes.assumingMemoryBound(to: T.self)
  let no = no.assumingMemoryBound(to: T.self)
  let target = target.assumingMemoryBound(to: T.self)
  Threads.forEachRows(count, width: 1) { block in
    for i in block { target[i] = flags[i] ? yes[i] : no[i] }
  }
}
