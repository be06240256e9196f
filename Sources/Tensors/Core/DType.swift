/// The element type of a tensor.
public enum DType: String, CaseIterable, Hashable, Sendable, Codable {
  case float32, bfloat16, float16, float64, int32, int64, bool

  /// The size of one element in bytes.
  public var size: Int {
    switch self {
    case .bool: 1
    case .bfloat16, .float16: 2
    case .float32, .int32: 4
    case .float64, .int64: 8
    }
  }

  /// Whether elements are real numbers, so that gradients exist.
  public var isFloatingPoint: Bool {
    switch self {
    case .float32, .bfloat16, .float16, .float64: true
    case .int32, .int64, .bool: false
    }
  }

  /// Whether elements have two bytes; arithmetic on them is done in float32.
  public var isHalfPrecision: Bool { self == .bfloat16 || self == .float16 }
}
