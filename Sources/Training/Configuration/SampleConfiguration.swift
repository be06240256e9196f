import AttentionLanguageModels

/// The text that the trained model generates at the end of a run: the section `sample`.
public struct SampleConfiguration: Codable, Hashable, Sendable {
  public var prompt = "\n"
  /// Number of tokens to generate; 0 generates none.
  public var tokens = 400
  /// Divides the logits; 0 takes the most likely token.
  public var temperature = 0.8
  /// Only the k most likely tokens are drawn; nil for all.
  public var topK: Int?
  /// Only the most likely tokens that together have probability p are drawn; nil for all.
  public var topP: Double?
  public var seed = 0

  public init() {}

  enum CodingKeys: String, CodingKey, CaseIterable {
    case prompt, tokens, temperature
    case topK = "top_k"
    case topP = "top_p"
    case seed
  }

  public init(from decoder: any Decoder) throws {
    self.init()
    let values = try decoder.strictContainer(keyedBy: CodingKeys.self)
    prompt = try values.value(.prompt, default: prompt)
    tokens = try values.value(.tokens, default: tokens)
    temperature = try values.value(.temperature, default: temperature)
    topK = try values.value(.topK, default: topK)
    topP = try values.value(.topP, default: topP)
    seed = try values.value(.seed, default: seed)
    try validate(path: decoder.codingPath.dotted)
  }

  /// - Throws: `ConfigurationError.invalidValue(_:was:mustBe:)` for the first invalid value.
  public func validate(path: String = "sample") throws {
    var check = ValueChecks(section: path)
    check.that(!prompt.isEmpty, "prompt", was: "\"\"", mustBe: "at least one character")
    check.that(tokens, "tokens", isAtLeast: 0)
    check.that(temperature, "temperature", isAtLeast: 0)
    if let topK { check.that(topK, "top_k", isAtLeast: 1) }
    if let topP {
      check.that(topP > 0 && topP <= 1, "top_p", was: "\(topP)", mustBe: "above 0 and at most 1")
    }
    check.that(seed, "seed", isAtLeast: 0)
    try check.finish()
  }
}
