import AttentionCUDAKernels
import AttentionOperators
import AttentionTensors

/// The state of a linear recurrence and its convolutions in a ``DecodingProgram``.
struct DecodedRecurrence: DecodedState {
  /// Float32 [1, heads, key dimension, value dimension]
  let state: Tensor
  /// By the name of the convolution's state: float32 [2, channels, width − 1], the inputs before an even token
  /// and before an odd one, and the dtype in caches.
  let inputs: [String: (rows: Tensor, dtype: DType)]

  var byteCount: Int { state.byteCount + inputs.values.reduce(0) { $0 + $1.rows.byteCount } }

  func cache(tokenCount: Int) throws -> any MixerCache {
    var cache = RecurrentCache()
    var states = try inputs.mapValues {
      try $0.rows.sliced(0, tokenCount % 2..<tokenCount % 2 + 1).copied().cast(to: $0.dtype)
    }
    states["state"] = try state.copied()
    cache.advance(by: tokenCount, to: states)
    return cache
  }
}

/// The operands of a recurrence.
struct DecodedRecurrenceRows {
  let extents: HeadExtents
  let queries, keys, values: DecodedVector
  let projections: [ConvolvedProjection]
}

extension DecodingBuilder {
  /// A stage of linear attention, without its decay, and its states.
  mutating func recurrence(
    _ rows: DecodedRecurrenceRows, heads: Int, after cache: (any MixerCache)?
  ) throws -> (DecodingStage, output: DecodedVector, DecodedRecurrence) {
    let extents = rows.extents
    let mostKeys = 256
    guard extents.keyDimension <= mostKeys else {
      throw DecodingObjection("keys have \(extents.keyDimension) numbers, more than \(mostKeys)")
    }
    let kept = try cache.asKind(RecurrentCache.self)?.states ?? [:]
    let output = try vector(heads * extents.valueDimension)
    let shape = Shape([1, heads, extents.keyDimension, extents.valueDimension])
    let state = try own(kept["state"], shape)
    var stage = DecodingStage()
    stage.kind = Int32(decoding_recur)
    stage.queries = rows.queries.address
    stage.keys = rows.keys.address
    stage.values = rows.values.address
    stage.output = output.address
    stage.state = try state.deviceAddress()
    stage.heads = Int32(heads)
    stage.key_dimension = Int32(extents.keyDimension)
    stage.value_dimension = Int32(extents.valueDimension)
    stage.query_group = Int32(heads / extents.heads)
    stage.key_group = Int32(heads / extents.keyHeads)
    stage.value_group = Int32(heads / extents.valueHeads)
    stage.decay_group = 1
    stage.scale = Float(1 / Double(extents.keyDimension).squareRoot())
    stage.unit_epsilon = -1
    stage.smallest_decay = -.infinity
    stage.divisor = 1
    stage.applies_silu = rows.projections[0].appliesSiLU ? 1 : 0
    var inputs: [String: (Tensor, DType)] = [:]
    var convolutions: [DecodingConvolution] = []
    for projection in rows.projections {
      guard projection.appliesSiLU == rows.projections[0].appliesSiLU else {
        throw DecodingObjection("only some of queries, keys and values go through a silu")
      }
      guard let convolution = projection.convolution else { continue }
      let (channels, width) = (convolution.weight.shape[0], convolution.weight.shape[2])
      let before = kept[projection.name]
      let slot = position % 2
      let rows = try keep(
        .clearedOnDevice([2, channels, width - 1], dtype: .float32, device: device))
      if let before {
        try before.detached().cast(to: .float32).copyElements(to: rows.sliced(0, slot..<slot + 1))
      }
      inputs[projection.name] = (rows, before?.dtype ?? dtype)
      convolutions.append(
        DecodingConvolution(
          weight: try numbers(of: convolution.weight),
          bias: try convolution.bias.map { try numbers(of: $0) } ?? 0,
          inputs: try rows.deviceAddress(), channels: Int32(channels), width: Int32(width)))
    }
    withUnsafeMutableBytes(of: &stage.convolutions) { target in
      convolutions.withUnsafeBytes { target.copyMemory(from: $0) }
    }
    return (stage, output, DecodedRecurrence(state: state, inputs: inputs))
  }

  /// A copy of a state that the program may change; zeros before the first token.
  private mutating func own(_ state: Tensor?, _ shape: Shape) throws -> Tensor {
    guard let state else {
      return try keep(.clearedOnDevice(shape, dtype: .float32, device: device))
    }
    guard state.dtype == .float32, state.shape == shape else {
      throw DecodingObjection("its state is \(state.summary), not float32 \(shape)")
    }
    return try keep(state.detached().copied())
  }
}

extension GatedLinearAttention: DecodedMixer {
  func addStages(
    to program: inout DecodingBuilder, _ step: DecodedStep, after cache: (any MixerCache)?
  ) throws -> any DecodedState {
    guard options.featureMap == .identity else {
      throw DecodingObjection("queries and keys go through \(options.featureMap)")
    }
    let extents = projections.extents
    let inputs = [projections.query, projections.key, projections.value]
    let parts = try program.project(
      step.input, inputs.map(\.projection) + [decay.layers[0]] + (gate.map { [$0] } ?? []))
    var (stage, output, state) = try program.recurrence(
      DecodedRecurrenceRows(
        extents: extents, queries: parts[0], keys: parts[1], values: parts[2],
        projections: inputs),
      heads: options.heads, after: cache)
    stage.decay = parts[3].address
    stage.divisor = Float(options.decayDivisor)
    if let smallest = options.smallestDecay { stage.smallest_decay = Float(smallest) }
    if let rank = options.decayRank {
      let mostRank = 32
      let last = decay.layers[1]
      let chunk = Int(chunk_bytes) / program.dtype.size
      guard rank <= min(mostRank, extents.keyDimension), rank % chunk == 0,
        last.weight.dtype == program.dtype
      else {
        throw DecodingObjection(
          "its decays are of rank \(rank), not a multiple of \(chunk) up to \(mostRank)")
      }
      stage.decay_kind = Int32(decoding_low_rank)
      stage.decay_group = Int32(options.heads / extents.keyHeads)
      stage.rank = Int32(rank)
      stage.decay_weight = try program.address(of: last.weight)
      stage.decay_bias = try last.bias.map { try program.numbers(of: $0) } ?? 0
    } else {
      stage.decay_kind = Int32(decoding_log_sigmoid)
    }
    program.append(stage)
    try program.finish(
      step, .heads(output, self.output.norm, gate: gate == nil ? nil : parts[4]),
      self.output.projection)
    return state
  }
}

extension GatedDeltaNet: DecodedMixer {
  func addStages(
    to program: inout DecodingBuilder, _ step: DecodedStep, after cache: (any MixerCache)?
  ) throws -> any DecodedState {
    guard let projections = projections as? SeparateProjections else {
      throw DecodingObjection("the projections are laid out as in \(options.layout.rawValue)")
    }
    let heads = projections.heads
    let inputs = [heads.query, heads.key, heads.value]
    let gate = projections.gate
    let parts = try program.project(
      step.input,
      inputs.map(\.projection) + [projections.steps, projections.beta] + (gate.map { [$0] } ?? []))
    var (stage, output, state) = try program.recurrence(
      DecodedRecurrenceRows(
        extents: heads.extents, queries: parts[0], keys: parts[1], values: parts[2],
        projections: inputs),
      heads: heads.extents.valueHeads, after: cache)
    stage.decay_kind = Int32(decoding_step_decay)
    stage.decay = parts[3].address
    stage.decay_bias = try program.numbers(of: decay.bias)
    stage.rates = try program.numbers(
      of: decay.logRates.detached().cast(to: .float32).exponential())
    stage.beta = parts[4].address
    stage.beta_scale = options.allowsNegativeEigenvalues ? 2 : 1
    stage.unit_epsilon = Float(LinearArguments.normalizationEpsilon)
    program.append(stage)
    try program.finish(
      step, .heads(output, self.output.norm, gate: gate == nil ? nil : parts[5]),
      self.output.projection)
    return state
  }
}
