/// The loss over the steps of a run, on the training text and on the held-out text.
public struct LossCurve: Codable, Hashable, Sendable {
  public struct Point: Codable, Hashable, Sendable {
    public let step: Int
    public let bitsPerByte: Double

    public init(step: Int, bitsPerByte: Double) {
      self.step = step
      self.bitsPerByte = bitsPerByte
    }

    enum CodingKeys: String, CodingKey {
      case step
      case bitsPerByte = "bits_per_byte"
    }
  }

  /// In the order of their steps.
  public var training: [Point] = []
  /// In the order of their steps.
  public var validation: [Point] = []

  public init(training: [Point] = [], validation: [Point] = []) {
    self.training = training
    self.validation = validation
  }

  /// Adjacent points averaged so that at most `limit` are left, for an image of that width.
  static func thinned(_ points: [Point], to limit: Int) -> [Point] {
    guard points.count > limit, limit > 0 else { return points }
    return (0..<limit).map { bucket in
      let range = points[bucket * points.count / limit..<(bucket + 1) * points.count / limit]
      let sum = range.reduce(0) { $0 + $1.bitsPerByte }
      return Point(
        step: range[range.startIndex + range.count / 2].step, bitsPerByte: sum / Double(range.count)
      )
    }
  }
}
