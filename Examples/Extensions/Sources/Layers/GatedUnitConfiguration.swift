import SwiftAttention

/// ``GatedUnit`` as a layer of a configuration: `{ type: "gated_unit", expansion: 2 }`.
public struct GatedUnitConfiguration: MixerConfiguration {
  public static let name = "gated_unit"
  public static let summary = "A minimal gated recurrent unit."

  /// The state's width as a multiple of the hidden size.
  public var expansion = 1

  public enum CodingKeys: String, DocumentedKey {
    case expansion

    public var meaning: String { "the state's width as a multiple of `hidden_size`" }
  }

  public init() {}

  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    expansion = try values.value(.expansion, default: expansion)
  }

  public func validate(hidden: Int) throws {
    guard (1...16).contains(expansion) else {
      throw LayerError.invalidArgument("expansion", was: "\(expansion)", mustBe: "in 1...16")
    }
  }

  public func makeMixer(hidden: Int, outputScale: Double, scope: ParameterScope) throws
    -> any TokenMixer
  {
    try GatedUnit(
      hidden: hidden, width: expansion * hidden, outputScale: outputScale, scope: scope)
  }
}
