/// Where a tensor lives and its operations run.
public enum Device: Hashable, Sendable, CustomStringConvertible {
  case cpu

  public var description: String { "cpu" }
}
