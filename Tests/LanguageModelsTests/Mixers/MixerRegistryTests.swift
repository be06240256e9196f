import AttentionLayers
import Dispatch
import Testing

@testable import AttentionLanguageModels

@Suite struct MixerRegistryTests {
  /// One of several types of mixers that share a name.
  private struct Named<Tag: Sendable>: MixerConfiguration {
    static var name: String { "average" }
    static var summary: String { "" }
    enum CodingKeys: String, DocumentedKey {
      case decay
      var meaning: String { "" }
    }
    var decay = 0.5
    static func == (first: Self, second: Self) -> Bool { first.decay == second.decay }
    func hash(into hasher: inout Hasher) { hasher.combine(decay) }
    func makeMixer(hidden: Int, outputScale: Double, scope: ParameterScope) throws
      -> any TokenMixer
    { try MovingAverage(hidden: hidden, decay: decay, outputScale: outputScale, scope: scope) }
  }

  /// Has a key that every layer has.
  private struct Typed: MixerConfiguration {
    static let name = "typed"
    static let summary = ""
    enum CodingKeys: String, DocumentedKey {
      case type
      var meaning: String { "" }
    }
    var type = 0
    func makeMixer(hidden: Int, outputScale: Double, scope: ParameterScope) throws
      -> any TokenMixer
    { try MovingAverage(hidden: hidden, decay: 0.5, outputScale: outputScale, scope: scope) }
  }

  @Test func thoseOfThePackageAreRegistered() {
    #expect(MixerRegistry.shared.names.prefix(3) == ["softmax", "cosine", "gated_linear"])
    #expect(MixerRegistry.shared["cosine"] == CosineConfiguration.self)
    #expect(MixerRegistry.shared["cosines"] == nil)
  }

  @Test func aNameBelongsToOneType() throws {
    let registry = MixerRegistry()
    try registry.register(SoftmaxConfiguration.self)
    try registry.register(Named<Int>.self)
    try registry.register(Named<Int>.self)
    let error = #expect(throws: MixerRegistryError.self) {
      try registry.register(Named<String>.self)
    }
    #expect(
      error
        == .duplicateName("average", registered: "Named<Int>", refused: "Named<String>"))
    #expect(
      error?.description
        == #"name of Named<String> is "average", that of Named<Int>; it must be unique"#)
    #expect(registry.names == ["softmax", "average"])
    #expect(registry["average"] == Named<Int>.self)
  }

  @Test func theKeyTypeIsTheLayers() {
    let registry = MixerRegistry()
    let error = #expect(throws: MixerRegistryError.self) { try registry.register(Typed.self) }
    #expect(
      error?.description
        == "a key of Typed is type, which every layer has; it must be different")
    #expect(registry.types.isEmpty)
  }

  /// Of many threads that register types of one name, one succeeds; reading goes on meanwhile.
  @Test func registeringIsSafeFromManyThreads() {
    let types: [any MixerConfiguration.Type] = [
      Named<Int>.self, Named<String>.self, Named<Double>.self, Named<Bool>.self,
    ]
    for _ in 0..<50 {
      let registry = MixerRegistry()
      DispatchQueue.concurrentPerform(iterations: 16) { index in
        try? registry.register(SoftmaxConfiguration.self)
        try? registry.register(types[index % types.count])
        _ = registry["average"]
      }
      #expect(registry.types.count == 2)
      let holder = registry["average"]
      let refused = types.filter { type in (try? registry.register(type)) == nil }
      #expect(refused.count == types.count - 1 && !refused.contains { $0 == holder })
    }
  }

  @Test func itsKeysAreDocumented() throws {
    let page = try MovingAverageConfiguration.documentedSection().markdown
    #expect(
      page == """
        ## `model.layers`, an element with `type: "test.moving_average"`

        A moving average of earlier tokens.

        | key     | default  | meaning |
        | --- | --- | --- |
        | `type`  | required | the token mixer |
        | `decay` | `0.9`    | the weight of one token relative to the next |
        """)
  }
}
