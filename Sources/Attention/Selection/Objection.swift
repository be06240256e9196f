/// The reason why a kernel cannot solve a problem, in words that name the fact which stands in the
/// way: "gradients asked for; this kernel runs forward only".
public struct Objection: Hashable, Sendable, Codable, CustomStringConvertible {
  public let reason: String

  public init(_ reason: String) { self.reason = reason }

  public var description: String { reason }
}
