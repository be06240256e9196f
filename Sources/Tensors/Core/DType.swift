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

/// Where operations run.
public enum Device: Hashable, Sendable, CustomStringConvertible {
  case cpu
  /// An NVIDIA GPU, by its index in the driver's list.
  case cuda(Int)

  /// `cpu`, `cuda` for the first GPU, or `cuda:` and a GPU's index; nil for anything else.
  public init?(name: some StringProtocol) {
    switch name {
    case "cpu": self = .cpu
    case "cuda": self = .cuda(0)
    default:
      let prefix = "cuda:"
      guard name.hasPrefix(prefix), let index = Int(name.dropFirst(prefix.count)), index >= 0
      else { return nil }
      self = .cuda(index)
    }
  }

  public var description: String {
    switch self {
    case .cpu: "cpu"
    case .cuda(let index): "cuda:\(index)"
    }
  }
}

extension Int {
  /// How many pieces of `size` cover this many.
  package func pieces(of size: Int) -> Int { (self + size - 1) / size }

  /// The first multiple of `step` from here on.
  package func rounded(up step: Int) -> Int { pieces(of: step) * step }
}
