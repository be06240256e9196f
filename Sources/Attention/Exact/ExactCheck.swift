import AttentionTensors

extension ExactAttention {
  public static func check(
    _ inputs: OperatorTensors<ExactInput>, _ options: ExactOptions,
    _ gradients: WantedGradients<ExactInput>
  ) throws -> (problem: ExactProblem, sequences: Segments) {
    let queries = try inputs.required(.queries)
    let sizes = try ExactSizes(
      queries, inputs.required(.keys), inputs.required(.values))
    let (batch, t, s, heads) = (sizes.batch, sizes.queries, sizes.keys, sizes.heads)
    if options.isCosine {
      guard options.groups >= 1, sizes.keyDimension % options.groups == 0 else {
        throw AttentionError.invalidArgument(
          "groups", was: "\(options.groups)",
          mustBe: "at least 1 and a divisor of the dimension \(sizes.keyDimension)")
      }
    }
    if let scale = options.scale, !scale.isFinite {
      throw AttentionError.invalidArgument("scale", was: "\(scale)", mustBe: "finite")
    }
    try checkVector(inputs, .scale, count: heads)
    for (name, limit) in [
      ("window left", options.window?.left), ("window right", options.window?.right),
    ] {
      if let limit, limit < 0 {
        throw AttentionError.invalidArgument(
          name, was: "\(limit)", mustBe: "at least 0, or no limit")
      }
    }
    if let mask = inputs[.keyMask], mask.dtype != .bool || mask.shape != [batch, s] {
      throw AttentionError.invalidArgument(
        "keyMask", was: "\(mask.dtype.rawValue) \(mask.shape)", mustBe: "bool \([batch, s])")
    }
    let segments = try Segments(
      options, inputs[.cumulativeLengths], batch: batch, queries: t, keys: s)
    let terms = try checkTerms(inputs, options.terms, scores: [batch, heads, t, s])
    let bias = inputs[.bias]
    let problem = ExactProblem(
      batch: batch, queryLength: t, keyLength: s, heads: heads,
      keyValueHeads: sizes.keyValueHeads, keyDimension: sizes.keyDimension,
      valueDimension: sizes.valueDimension, dtype: queries.dtype, device: queries.device,
      allowsTF32: options.allowsTF32, normalizedGroups: options.normalizedGroups,
      isCosine: options.isCosine, isCausal: options.isCausal, alignment: options.alignment,
      window: options.window, hasKeyMask: inputs[.keyMask] != nil,
      packedSequences: inputs[.cumulativeLengths] == nil ? nil : segments.count,
      visiblePairs: segments.visiblePairs, terms: terms, bias: bias?.shape,
      biasDType: bias?.dtype,
      needsGradient: gradients.areNeeded,
      wantsBiasGradient: gradients.inputs.contains(.bias) && bias?.dtype.isFloatingPoint == true)
    return (problem, segments)
  }

  static func checkVector(
    _ inputs: OperatorTensors<ExactInput>, _ input: ExactInput, count: Int
  ) throws {
    guard let tensor = inputs[input] else { return }
    guard tensor.shape == [count], tensor.dtype.isFloatingPoint else {
      throw AttentionError.invalidArgument(
        input.argument, was: "\(tensor.dtype.rawValue) \(tensor.shape)",
        mustBe: "floating-point [\(count)]")
    }
  }

  static func check(logitDecay decay: Tensor, shape: Shape, keys: Int) throws {
    guard decay.shape == shape, decay.dtype.isFloatingPoint else {
      throw AttentionError.invalidArgument(
        "logitDecay", was: "\(decay.dtype.rawValue) \(decay.shape)",
        mustBe: "floating-point \(shape)")
    }
    guard shape[1] == keys else {
      throw AttentionError.invalidArgument(
        "keys", was: "of length \(keys)",
        mustBe: "of the queries' length \(shape[1]) with logitDecay")
    }
  }
}

/// The extents of queries, keys and values, checked against each other.
struct ExactSizes {
  let batch: Int
  let queries: Int
  let keys: Int
  let heads: Int
  let keyValueHeads: Int
  let keyDimension: Int
  let valueDimension: Int

  init(_ q: Tensor, _ k: Tensor, _ v: Tensor) throws {
    func check(_ tensor: Tensor, _ name: String) throws {
      guard tensor.rank == 4 else {
        throw AttentionError.invalidArgument(
          name, was: "\(tensor.shape)", mustBe: "[batch, length, heads, dimension]")
      }
      guard tensor.dtype.isFloatingPoint, tensor.dtype == q.dtype else {
        throw AttentionError.invalidArgument(
          name, was: tensor.dtype.rawValue, mustBe: "of the queries' floating-point dtype")
      }
    }
    try check(q, "queries")
    try check(k, "keys")
    try check(v, "values")
    batch = q.shape[0]
    queries = q.shape[1]
    heads = q.shape[2]
    keyDimension = q.shape[3]
    keys = k.shape[1]
    keyValueHeads = k.shape[2]
    valueDimension = v.shape[3]
    guard k.shape[0] == batch, k.shape[3] == keyDimension else {
      throw AttentionError.invalidArgument(
        "keys", was: "\(k.shape)", mustBe: "[\(batch), length, heads, \(keyDimension)]")
    }
    guard v.shape[0] == batch, v.shape[1] == keys, v.shape[2] == keyValueHeads else {
      throw AttentionError.invalidArgument(
        "values", was: "\(v.shape)", mustBe: "[\(batch), \(keys), \(keyValueHeads), dimension]")
    }
    guard heads >= 1, keyValueHeads >= 1, heads % keyValueHeads == 0 else {
      throw AttentionError.invalidArgument(
        "key/value heads", was: "\(keyValueHeads)",
        mustBe: "at least 1 and a divisor of the \(heads) query heads")
    }
    try ProblemSize.check(sequences: batch, "queries")
    try ProblemSize.check(heads: heads, "queries")
    try ProblemSize.check(row: valueDimension, "values")
    let meaning = "batch, length, heads and dimension"
    try ProblemSize.check(q, "queries", q.shape.dimensions, meaning)
    try ProblemSize.check(k, "keys", k.shape.dimensions, meaning)
    try ProblemSize.check(v, "values", v.shape.dimensions, meaning)
    try ProblemSize.check(
      v, "values", [batch, queries, heads, valueDimension],
      "batch, queries, heads and dimension of values")
    try ProblemSize.check(
      q, "queries", [batch, queries, keys, heads], "batch, queries, keys and heads",
      largest: ProblemSize.mostPairs)
  }
}
