/// A Swift type that corresponds to a tensor's element type.
public protocol Scalar: Sendable {
  static var dtype: DType { get }
}

extension Float: Scalar { public static var dtype: DType { .float32 } }
extension Double: Scalar { public static var dtype: DType { .float64 } }
extension Float16: Scalar { public static var dtype: DType { .float16 } }
extension Int32: Scalar { public static var dtype: DType { .int32 } }
extension Int64: Scalar { public static var dtype: DType { .int64 } }
extension Bool: Scalar { public static var dtype: DType { .bool } }

/// The upper half of a float32: 8 exponent bits, 7 fraction bits.
public struct BFloat16: Scalar, Hashable {
  public static var dtype: DType { .bfloat16 }

  /// The sixteen bits, sign first.
  public var bitPattern: UInt16

  public init(bitPattern: UInt16) { self.bitPattern = bitPattern }

  /// Rounds to nearest, ties to even; NaN stays NaN.
  public init(_ value: Float) {
    let bits = value.bitPattern
    guard !value.isNaN else {
      bitPattern = UInt16(truncatingIfNeeded: bits >> 16) | 0x40
      return
    }
    bitPattern = UInt16(truncatingIfNeeded: (bits &+ 0x7FFF &+ ((bits >> 16) & 1)) >> 16)
  }

  /// Rounds to nearest, ties to even, once: going through float32 would round twice.
  public init(_ value: Double) {
    var float = Float(value)
    // Rounded to odd, the float32 is a tie only if `value` is one.
    if Double(float) != value, !value.isNaN {
      if Double(float).magnitude > value.magnitude {
        float = Float(bitPattern: float.bitPattern - 1)
      }
      float = Float(bitPattern: float.bitPattern | 1)
    }
    self.init(float)
  }

  public var float: Float { Float(bitPattern: UInt32(bitPattern) << 16) }
}
