extension Tensor {
  /// `yes` where `condition` (bool) is true, `no` elsewhere; all three broadcast to one shape.
  public static func select(_ condition: Tensor, _ yes: Tensor, _ no: Tensor) throws -> Tensor {
    guard condition.dtype == .bool, yes.dtype == no.dtype else {
      throw TensorError.invalidArgument(
        "operands of select",
        was: "\(condition.dtype.rawValue), \(yes.dtype.rawValue) and \(no.dtype.rawValue)",
        mustBe: "bool and two of one dtype")
    }
    let shape = try Shape.broadcasting(
      condition.shape, .broadcasting(yes.shape, no.shape))
    let chosen = try condition.detached().expanded(to: shape).contiguous()
    let (a, b) = (
      try yes.detached().expanded(to: shape).contiguous(),
      try no.detached().expanded(to: shape).contiguous()
    )
    let size = yes.dtype.size
    let result = try Tensor.filling(shape, dtype: yes.dtype) { target in
      try chosen.withUnsafePointer(to: Bool.self) { flags in
        a.withUnsafeRawPointer { x in
          b.withUnsafeRawPointer { y in
            for i in 0..<shape.elementCount {
              (target + i * size).copyMemory(
                from: (flags[i] ? x : y) + i * size, byteCount: size)
            }
          }
        }
      }
    }
    let (yesShape, noShape) = (yes.shape, no.shape)
    return result.recorded(from: [yes, no]) { g in
      let zero = try Tensor.zeros([], dtype: g.dtype)
      return [
        try select(chosen, g, zero).summed(to: yesShape),
        try select(chosen, zero, g).summed(to: noShape),
      ]
    }
  }

  /// Whether each element is greater than its partner, as bool.
  public func isGreater(than other: Tensor) throws -> Tensor {
    try Tensor.compare(self, other, >)
  }

  /// Whether each element equals its partner, as bool.
  public func isEqual(to other: Tensor) throws -> Tensor { try Tensor.compare(self, other, ==) }

  private static func compare(
    _ a: Tensor, _ b: Tensor, _ relation: (Double, Double) -> Bool
  ) throws -> Tensor {
    guard a.dtype == b.dtype else {
      throw TensorError.invalidArgument(
        "operands of a comparison", was: "\(a.dtype.rawValue) and \(b.dtype.rawValue)",
        mustBe: "of one dtype")
    }
    let shape = try Shape.broadcasting(a.shape, b.shape)
    let x = try a.detached().expanded(to: shape).elements(as: Double.self)
    let y = try b.detached().expanded(to: shape).elements(as: Double.self)
    return try Tensor(zip(x, y).map(relation), shape)
  }
}
