import AttentionCUDAKernels
import AttentionTensors

/// The keys and values of an exact attention layer in a ``DecodingProgram``.
struct DecodedKeyValues: DecodedState {
  /// [1, capacity, key heads, dimension]
  let keys, values: Tensor

  var byteCount: Int { keys.byteCount + values.byteCount }

  func cache(tokenCount: Int) throws -> any MixerCache {
    var cache = KeyValueCache()
    guard tokenCount > 0 else { return cache }
    _ = try cache.append(
      keys: keys.sliced(1, 0..<tokenCount), values: values.sliced(1, 0..<tokenCount))
    return cache
  }
}

extension SoftmaxAttention: DecodedMixer {
  func addStages(
    to program: inout DecodingBuilder, _ step: DecodedStep, after cache: (any MixerCache)?
  ) throws -> any DecodedState {
    let (options, layout) = (projections.options, projections.layout)
    let (heads, keyHeads, dimension) = (layout.heads, layout.keyValueHeads, layout.dimension)
    let objections: [(Bool, String)] = [
      (options.window != nil, "a layer attends within a window"),
      (options.hasOutputGate, "a layer's output has a gate"),
      (options.hasSinks, "a layer has sinks"),
      (options.softcap != nil, "a layer's scores have a softcap"),
      (options.hasALiBi, "a layer's scores fall with distance (ALiBi)"),
      (options.queryKeyNorm?.isOverAllHeads == true, "a norm is over all heads"),
      (![64, 128].contains(dimension), "heads have \(dimension) numbers, not 64 or 128"),
      (layout.rotary?.isInterleaved == true, "rotary pairs are adjacent"),
    ]
    if let objection = objections.first(where: \.0) { throw DecodingObjection(objection.1) }
    let kept = try cache.asKind(KeyValueCache.self)
    guard kept?.hasPadding != true else { throw DecodingObjection("earlier tokens are padding") }

    let parts: [DecodedVector]
    if options.isFused {
      let all = try program.project(step.input, projections.inputs)[0]
      let (queries, shared) = (heads * dimension, keyHeads * dimension)
      parts = [
        all.sliced(0..<queries), all.sliced(queries..<queries + shared),
        all.sliced(queries + shared..<queries + 2 * shared),
      ]
    } else {
      parts = try program.project(step.input, projections.inputs)
    }
    var stage = DecodingStage()
    stage.kind = Int32(decoding_attend)
    stage.queries = parts[0].address
    stage.keys = parts[1].address
    stage.values = parts[2].address
    stage.heads = Int32(heads)
    stage.key_group = Int32(heads / keyHeads)
    stage.key_dimension = Int32(dimension)
    stage.score_scale = Float(options.scale ?? 1 / Double(dimension).squareRoot())
    if case .rms(let query)? = projections.queryNorm, case .rms(let key)? = projections.keyNorm {
      stage.norm = try program.numbers(of: query)
      stage.key_norm = try program.numbers(of: key)
      stage.epsilon = Float(query.epsilon)
    } else if projections.queryNorm != nil {
      throw DecodingObjection("queries and keys have a layer norm")
    }
    if let rotary = layout.rotary {
      let tables = try RotaryTables.shared(
        rotary, positions: program.capacity, on: program.device)
      stage.rotated = Int32(rotary.dimension)
      stage.cosines = try program.address(of: tables.cosines)
      stage.sines = try program.address(of: tables.sines)
    }
    func rows(_ before: Tensor?) throws -> Tensor {
      let all = try program.keep(
        .clearedOnDevice(
          [1, program.capacity, keyHeads, dimension], dtype: program.dtype, device: program.device)
      )
      if let before, before.shape[1] > 0 {
        try before.detached().copyElements(to: all.sliced(1, 0..<before.shape[1]))
      }
      return all
    }
    let before = try kept?.rows()
    let state = DecodedKeyValues(keys: try rows(before?.keys), values: try rows(before?.values))
    stage.key_rows = try state.keys.deviceAddress()
    stage.value_rows = try state.values.deviceAddress()
    let blocks = try DeviceQueue.shared(for: program.device).device.limits.decodingBlocks
    let mostSplits = 32
    let splits = min(mostSplits, max(1, blocks / heads))
    stage.splits = Int32(splits)
    stage.sums = try program.vector(heads * splits * (dimension + 2)).address
    let output = try program.vector(heads * dimension)
    stage.output = output.address
    program.append(stage)
    stage.kind = Int32(decoding_merge)
    program.append(stage)
    try program.finish(step, .plain(output), projections.output)
    return state
  }
}
