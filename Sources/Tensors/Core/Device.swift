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
