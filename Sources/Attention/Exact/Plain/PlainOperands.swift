import Tensors

/// The inputs of exact attention in one dtype, and the scores computed from them by elementary
/// operations.
struct PlainOperands {
  let dtype: DType
  let tracks: Bool
  let headsPerGroup: Int
  let queries: Tensor
  let keys: Tensor
  let values: Tensor
  /// [h]
  let scale: Tensor
  let bias: Tensor?
  let logitDecay: Tensor?
  let sinks: Tensor?

  init(_ inputs: ExactInputs, dtype: DType, tracks: Bool) throws {
    func operand(_ tensor: Tensor) throws -> Tensor {
      let converted = try tensor.cast(to: dtype)
      return tracks ? converted.tracked() : converted
    }
    self.dtype = dtype
    self.tracks = tracks
    headsPerGroup = inputs.headsPerGroup
    queries = try operand(inputs.queries)
    keys = try operand(inputs.keys)
    values = try operand(inputs.values)
    scale = try operand(inputs.scales ?? .full([inputs.problem.heads], inputs.factor, dtype: dtype))
    bias = try inputs.biasShape.map { shape in try operand(inputs.bias!.collapsed(to: shape)) }
    logitDecay = try inputs.logitDecay.map(operand)
    sinks = try inputs.sinkLogits.map(operand)
  }

  /// [b,s,hₖ,d] → [b,h,s,d]: each key/value head once for every query head that reads it.
  func spread(_ tensor: Tensor) throws -> Tensor {
    let (b, s, h, d) = (tensor.shape[0], tensor.shape[1], tensor.shape[2], tensor.shape[3])
    let heads = try tensor.permuted([0, 2, 1, 3])
    guard headsPerGroup > 1 else { return heads }
    return try heads.unsqueezed(2).expanded(to: [b, h, headsPerGroup, s, d])
      .reshaped([b, h * headsPerGroup, s, d])
  }

  /// The scores [b,h,t,s], −∞ where the mask says so.
  func scores(_ inputs: ExactInputs) throws -> Tensor {
    let problem = inputs.problem
    var q = queries
    var k = keys
    if let groups = inputs.normalizedGroups {
      q = try unitSlices(q, groups)
      k = try unitSlices(k, groups)
    }
    let heads = problem.heads
    var s =
      try q.permuted([0, 2, 1, 3]).matmul(spread(k).transposed())
      * scale.reshaped([heads, 1, 1])
    if let cap = inputs.softcap { s = try (s / Double(cap)).tanh() * Double(cap) }
    if let slopes = inputs.slopes {
      s = try s - Tensor(slopes, [heads, 1, 1]).cast(to: dtype) * distances(inputs)
    }
    if let bias { s = try s + bias }
    let masked = try Tensor.full([], -.infinity, dtype: dtype)
    if let logitDecay {
      let limit = try Tensor.full([], ExactInputs.cuttingDecay.nextUp, dtype: .float64)
      let isCut = try limit.isGreater(than: logitDecay.detached().cast(to: .float64))
      let decay = try Tensor.select(isCut, .zeros([], dtype: dtype), logitDecay)
      let c = try sumMatrix(inputs).matmul(decay).permuted([0, 2, 1])
      s = try s + c.unsqueezed(3) - c.unsqueezed(2)
      if let cuts = inputs.decayCuts {
        let cuts = try Tensor(cuts, [problem.batch, heads, problem.queryLength])
        s = try .select(cuts.unsqueezed(3).isEqual(to: cuts.unsqueezed(2)), s, masked)
      }
    }
    return try .select(visible(inputs), s, masked)
  }

  private func unitSlices(_ x: Tensor, _ groups: Int) throws -> Tensor {
    let slices = try x.reshaped(
      Shape(x.shape.dropLast() + [groups, x.shape[x.rank - 1] / groups]))
    let squares = try slices.squared().sum([-1], keepsAxes: true)
    let shortest = Double(Similarity.shortestSlice)
    let isShort = try Tensor.full([], shortest * shortest, dtype: dtype).isGreater(than: squares)
    let lengths = try Tensor.select(isShort, .ones([], dtype: dtype), squares).squareRoot()
    let unit = try Tensor.select(isShort, .zeros([], dtype: dtype), slices / lengths)
    return try unit.reshaped(x.shape)
  }

  /// |place of query i − j| as [b or 1, 1, t, s].
  private func distances(_ inputs: ExactInputs) throws -> Tensor {
    let problem = inputs.problem
    return try table(inputs) { segment, i, j in
      let place = problem.alignment == .bottomRight ? segment.keyCount - segment.queryCount : 0
      return Double(abs(i + place - j))
    }.cast(to: dtype)
  }

  /// The matrix that sums along each sequence, [b, t, t].
  private func sumMatrix(_ inputs: ExactInputs) throws -> Tensor {
    try table(inputs) { _, i, j in j <= i ? 1 : 0 }.squeezed(1).cast(to: dtype)
  }

  /// Which pairs the mask leaves, bool [b, 1, t, s].
  private func visible(_ inputs: ExactInputs) throws -> Tensor {
    let s = inputs.problem.keyLength
    let keep = try inputs.keyMask?.elements(as: Bool.self)
    return try table(inputs) { segment, i, j in
      let inBand = segment.band.visibleKeys(rows: i..<i + 1, keys: segment.keyCount).contains(j)
      return inBand && keep?[segment.batch * s + segment.keyStart + j] != false ? 1 : 0
    }.cast(to: .bool)
  }

  /// `value` of each pair of places inside one sequence, 0 between sequences; [b, 1, t, s].
  private func table(
    _ inputs: ExactInputs, _ value: (_ segment: ExactInputs.Segment, Int, Int) -> Double
  ) throws -> Tensor {
    let (t, s) = (inputs.problem.queryLength, inputs.problem.keyLength)
    var values = [Double](repeating: 0, count: inputs.problem.batch * t * s)
    for segment in inputs.segments {
      for i in 0..<segment.queryCount {
        let row = (segment.batch * t + segment.queryStart + i) * s + segment.keyStart
        for j in 0..<segment.keyCount { values[row + j] = value(segment, i, j) }
      }
    }
    return try Tensor(values, [inputs.problem.batch, 1, t, s])
  }

  /// The gradients of a scalar computed from these operands.
  func gradients(of total: Tensor) throws -> ExactGradients {
    let optional = [bias, logitDecay, sinks]
    let sources = [queries, keys, values, scale] + optional.compactMap { $0 }
    guard total.isTracked else {
      let zeros = try sources.map { try Tensor.zeros($0.shape, dtype: $0.dtype) }
      return collect(zeros, optional)
    }
    return collect(try total.gradients(of: sources), optional)
  }

  private func collect(_ gradients: [Tensor], _ optional: [Tensor?]) -> ExactGradients {
    var rest = gradients[4...]
    let others = optional.map { $0 == nil ? nil : rest.popFirst() }
    return ExactGradients(
      queries: gradients[0], keys: gradients[1], values: gradients[2], scale: gradients[3],
      bias: others[0], logitDecay: others[1], sinks: others[2])
  }
}
