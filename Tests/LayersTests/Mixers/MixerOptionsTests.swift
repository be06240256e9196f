import Testing

@testable import AttentionLayers

/// Options that do not fit a layer of hidden size 8.
@Suite struct MixerOptionsTests {
  struct Mistake: Sendable, CustomTestStringConvertible {
    let name: String
    let testDescription: String
    let validate: @Sendable () throws -> Void

    init<Options: MixerOptions>(
      _ name: String, _ options: Options, _ change: (inout Options) -> Void
    ) {
      var changed = options
      change(&changed)
      let wrong = changed
      self.name = name
      testDescription = "\(Options.self), \(name)"
      validate = { try wrong.validate(hidden: 8) }
    }
  }

  private static let shared: [Mistake] = [
    .init("heads", GatedDeltaNet.Options()) { $0.heads = 0 },
    .init("hiddenSize", GatedDeltaNet.Options()) { $0.heads = 3 },
    .init("valueHeads", GatedDeltaNet.Options()) { $0.valueHeads = 6 },
    .init("keyDimension", GatedDeltaNet.Options()) { $0.keyDimension = 0 },
    .init("valueDimension", GatedDeltaNet.Options()) { $0.valueDimension = .max },
    .init("keyDimension times 4", GatedDeltaNet.Options()) { $0.keyDimension = 1 << 20 },
    .init("convolutionWidth", GatedDeltaNet.Options()) { $0.convolution.width = 5 },
    .init("normEpsilon", GatedDeltaNet.Options()) { $0.normEpsilon = 0 },
    .init("keyExpansion", GatedLinearAttention.Options()) { $0.keyExpansion = 0.3 },
    .init("valueExpansion", GatedLinearAttention.Options()) { $0.valueExpansion = .nan },
    .init("valueExpansion times the hidden size", GatedLinearAttention.Options()) {
      $0.valueExpansion = 0x1p50
    },
    .init("keyValueHeads", GatedLinearAttention.Options()) { $0.keyValueHeads = 3 },
    .init("featureMap", GatedLinearAttention.Options()) { $0.featureMap = .hedgehog },
  ]

  private static let own: [Mistake] = [
    .init("gate", GatedDeltaNet.Options()) { ($0.gate, $0.layout) = (nil, .qwen35) },
    .init("decayRank", GatedLinearAttention.Options()) { $0.decayRank = 0 },
    .init("decayDivisor", GatedLinearAttention.Options()) { $0.decayDivisor = 0 },
    .init("smallestDecay", GatedLinearAttention.Options()) { $0.smallestDecay = 0.1 },
    .init("theta", Retention.Options()) { $0.rotaryTheta = -1 },
    .init("headDimension", Retention.Options()) { $0.keyExpansion = 0.5 },
    .init("layers", LightningAttention.Options()) { $0.layers = 0 },
    .init("layer", LightningAttention.Options()) { $0.layer = 1 },
    .init("lowerBound", HGRN.Options()) { $0.lowerBound = 1.5 },
    .init("expansion", HGRN.Options()) { $0.expansion = 0.3 },
    .init("lowerBound", HGRN2.Options()) { $0.lowerBound = -0.5 },
    .init("groups", Mamba2.Options()) { $0.groups = 0 },
    .init("heads", Mamba2.Options()) { $0.groups = 3 },
    .init("headDimension times 4", Mamba2.Options()) { $0.headDimension = 1 << 20 },
    .init("stateDimension", Mamba2.Options()) { $0.stateDimension = -1 },
    .init("smallestStep", Mamba2.Options()) { $0.smallestStep = -1 },
    .init("largestStep", Mamba2.Options()) { ($0.smallestStep, $0.largestStep) = (2, 1) },
    .init("multipliers", Mamba2.Options()) { $0.multipliers = [1] },
    .init("inputMultiplier", Mamba2.Options()) { $0.inputMultiplier = .infinity },
    .init("stateDimension", Mamba.Options()) { $0.stateDimension = 0 },
    .init("stepRank", Mamba.Options()) { $0.stepRank = 0 },
    .init("expansion", Mamba.Options()) { $0.expansion = 0 },
    .init("smallestDecay", KimiDeltaAttention.Options()) { $0.smallestDecay = 0 },
    .init("updates", GatedDeltaProduct.Options()) { $0.updates = 0 },
    .init("updates times 8", GatedDeltaProduct.Options()) { $0.updates = 1 << 20 },
    .init("correction", Comba.Options()) { $0.correction = .nan },
    .init("gateCap", MLSTM.Options()) { $0.gateCap = 41 },
    .init("slots", SlotAttention.Options()) { $0.slots = 0 },
    .init("featureMap", SlotAttention.Options()) { $0.featureMap = .hedgehog },
    .init("width", GriffinRecurrence.Options()) { $0.width = 6 },
    .init("expansion", MinimalRecurrenceOptions()) { $0.expansion = -1 },
    .init("window", ForgettingAttention.Options()) { $0.window = 0 },
    .init("width", GatedConvolution.Options()) { $0.width = 1 },
    .init("shiftRank", RWKV6.Options()) { $0.shiftRank = 0 },
    .init("decayRank", RWKV6.Options()) { $0.decayRank = .max },
    .init("hiddenSize", RWKV7.Options()) { $0.heads = 5 },
    .init("layer", RWKV7.Options()) { $0.layer = -1 },
    .init("valueRank", RWKV7.Options()) { $0.valueRank = 0 },
  ]

  @Test(arguments: shared + own) func mistakesAreNamed(_ mistake: Mistake) {
    let error = #expect(throws: LayerError.self) { try mistake.validate() }
    guard case .invalidArgument(let name, _, _)? = error else { return }
    #expect(name == mistake.name)
  }

  @Test func aLaterLayerNeedsTheValuesOfTheFirst() throws {
    var options = RWKV7.Options(heads: 2)
    (options.layer, options.layers) = (1, 2)
    let layer = try RWKV7(hidden: 8, options: options, scope: ParameterScope(seed: 1))
    let error = #expect(throws: LayerError.self) { try layer(.ones([1, 2, 8])) }
    guard case .invalidArgument(let name, _, _)? = error else { return }
    #expect(name == "context")
  }
}
