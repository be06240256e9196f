/// The layers of a model, from the first to the last: a list, or a pattern that repeats.
///
///     layers: [{ type: "gated_linear" }, { type: "softmax", window: 64 }]
///     layers: { pattern: [{ type: "gated_linear" }, { type: "softmax" }], repeat: 6 }
public struct LayerSchedule: Hashable, Sendable {
  public var pattern: [LayerConfiguration]
  public var repeats: Int

  public init(_ pattern: [LayerConfiguration], repeats: Int = 1) {
    self.pattern = pattern
    self.repeats = repeats
  }

  public var count: Int { pattern.count * repeats }

  /// All layers, with the pattern repeated.
  public var layers: [LayerConfiguration] { (0..<repeats).flatMap { _ in pattern } }
}

extension LayerSchedule: Codable {
  enum CodingKeys: String, CodingKey, CaseIterable {
    case pattern
    case repeats = "repeat"
  }

  public init(from decoder: any Decoder) throws {
    let value = try JSONValue(from: decoder)
    switch value {
    case .array:
      self.init(try decoder.singleValueContainer().decode([LayerConfiguration].self))
    case .object:
      let values = try decoder.strictContainer(keyedBy: CodingKeys.self)
      self.init(try values.value(.pattern), repeats: try values.value(.repeats))
    default:
      throw ConfigurationError.invalidValue(
        decoder.codingPath.dotted, was: value.summary,
        mustBe: "an array of layers, or an object with the keys pattern and repeat")
    }
  }

  public func encode(to encoder: any Encoder) throws {
    if repeats == 1 {
      var list = encoder.singleValueContainer()
      try list.encode(pattern)
    } else {
      var values = encoder.container(keyedBy: CodingKeys.self)
      try values.encode(pattern, forKey: .pattern)
      try values.encode(repeats, forKey: .repeats)
    }
  }
}
