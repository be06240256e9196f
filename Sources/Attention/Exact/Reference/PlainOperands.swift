import AttentionTensors

/// The inputs of exact attention in one dtype, and the scores computed from them by elementary
/// operations.
struct PlainOperands {
  let dtype: DType
  let tracks: Bool
  let headsPerGroup: Int
  let queries: Tensor
  let keys: Tensor
  let values: Tensor
  /// The pairs that are not masked, bool, broadcasts to [b, h, t, s].
  let visible: Tensor
  /// Whether a masked element is not finite, so that products must select.
  let selects: Bool
  /// [h]
  let scale: Tensor
  let bias: Tensor?
  private let needsBiasGradient: Bool
  let logitDecay: Tensor?
  let sinkLogits: Tensor?

  /// - Parameter silent: bool [b, h, t], true for queries that count like those that see nothing.
  init(_ inputs: ExactArguments, dtype: DType, tracks: Bool, silent: Tensor? = nil, selects: Bool)
    throws
  {
    func operand(_ tensor: Tensor) throws -> Tensor {
      let converted = try tensor.cast(to: dtype)
      return tracks ? converted.tracked() : converted
    }
    self.dtype = dtype
    self.tracks = tracks
    headsPerGroup = inputs.headsPerGroup
    self.selects = selects
    var left = try Self.visible(inputs)
    if selects {
      let none = try Tensor([false], [])
      if let silent { left = try .select(silent.unsqueezed(3), none, left) }
      if let bias = inputs.bias, bias.dtype == .bool {
        left = try .select(bias, left, none)
      } else if let bias = inputs.bias {
        left = try .select(bias.isEqual(to: .full([], -.infinity, dtype: bias.dtype)), none, left)
      }
      if let cuts = inputs.decayCuts {
        let problem = inputs.problem
        let cuts = try Tensor(cuts, [problem.batch, problem.heads, problem.queryLength])
        let isSame = try cuts.unsqueezed(3).isEqual(to: cuts.unsqueezed(2))
        left = try .select(isSame, left, none)
      }
    }
    visible = left
    queries = try operand(inputs.queries)
    keys = try operand(inputs.keys)
    values = try operand(inputs.values)
    scale = try operand(inputs.scales ?? .full([inputs.problem.heads], inputs.factor, dtype: dtype))
    bias = try inputs.biasShape.map { shape in
      let own = try inputs.bias!.collapsed(to: shape)
      guard own.dtype != .bool else {
        return try .select(
          own, .zeros([], dtype: dtype), .full([], -.infinity, dtype: dtype))
      }
      // Like other kernels, add the bias in float32, except in calls with float64 inputs.
      let isRounded = own.dtype == .float64 && inputs.dtype != .float64
      return try operand(isRounded ? own.cast(to: .float32) : own)
    }
    needsBiasGradient = inputs.problem.needsBiasGradient
    logitDecay = try inputs.logitDecay.map(operand)
    sinkLogits = try inputs.sinkLogits.map(operand)
  }

  /// [b,s,hₖ,d] → [b,h,s,d]: repeats each key/value head for every query head that reads it.
  func spread(_ tensor: Tensor) throws -> Tensor {
    let (b, s, h, d) = (tensor.shape[0], tensor.shape[1], tensor.shape[2], tensor.shape[3])
    let heads = try tensor.permuted([0, 2, 1, 3])
    guard headsPerGroup > 1 else { return heads }
    return try heads.unsqueezed(2).expanded(to: [b, h, headsPerGroup, s, d])
      .reshaped([b, h * headsPerGroup, s, d])
  }

  /// The scores [b,h,t,s], −∞ where the mask says so.
  func scores(_ inputs: ExactArguments) throws -> Tensor {
    let problem = inputs.problem
    var q = queries
    var k = keys
    if selects {
      // Rows without an unmasked pair become zero, whatever they hold.
      q = try .select(visible.anyTrue([3]).permuted([0, 2, 1, 3]), q, zero())
      k = try seen(k)
    }
    if let groups = inputs.normalizedGroups {
      q = try unitSlices(q, groups)
      k = try unitSlices(k, groups)
    }
    let heads = problem.heads
    let rows = try q.permuted([0, 2, 1, 3])
    let products =
      try selects
      ? rows.visibleProducts(spread(k), visible) : rows.matmul(spread(k).transposed())
    var s = try products * scale.reshaped([heads, 1, 1])
    if let cap = inputs.cap { s = try cap(s) }
    if let slopes = inputs.slopes {
      s = try s - Tensor(slopes, [heads, 1, 1]).cast(to: dtype) * distances(inputs)
    }
    if let bias { s = try s + bias }
    let masked = try Tensor.full([], -.infinity, dtype: dtype)
    if let logitDecay {
      let limit = try Tensor.full([], ExactArguments.cuttingDecay.nextUp, dtype: .float64)
      let isCut = try limit.isGreater(than: logitDecay.detached().cast(to: .float64))
      let decay = try Tensor.select(isCut, .zeros([], dtype: dtype), logitDecay)
      let matrix = try sumMatrix(inputs)
      let c = try (selects ? decay.selectedSums(matrix) : matrix.matmul(decay))
        .permuted([0, 2, 1])
      s = try s + c.unsqueezed(3) - c.unsqueezed(2)
      if let cuts = inputs.decayCuts {
        let cuts = try Tensor(cuts, [problem.batch, heads, problem.queryLength])
        s = try .select(cuts.unsqueezed(3).isEqual(to: cuts.unsqueezed(2)), s, masked)
      }
    }
    return try .select(visible, s, masked)
  }

  /// The output [b,h,t,v] with these weights.
  func output(_ weights: Tensor) throws -> Tensor {
    guard selects else { return try weights.matmul(spread(values)) }
    // The weights of a row that attends to NaN are all NaN, so those of masked pairs are cleared.
    return try Tensor.select(visible, weights, zero())
      .visibleSums(spread(seen(values)), visible)
  }

  private func zero() throws -> Tensor { try .zeros([], dtype: dtype) }

  /// Keys or values, with zeros in rows that no query attends to.
  private func seen(_ rows: Tensor) throws -> Tensor {
    try .select(visible.anyTrue([1, 2]).permuted([0, 3, 1, 2]), rows, zero())
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
  private func distances(_ inputs: ExactArguments) throws -> Tensor {
    let problem = inputs.problem
    return try Self.table(inputs) { index, i, j in
      let segment = inputs.segments[index]
      let place = problem.alignment == .bottomRight ? segment.keyCount - segment.queryCount : 0
      return Double(abs(i + place - j))
    }.cast(to: dtype)
  }

  /// The matrix that sums along each sequence, [b, t, t], from behind the first key that the mask leaves: see
  /// ``ExactArguments/decaySums``.
  private func sumMatrix(_ inputs: ExactArguments) throws -> Tensor {
    let keep = try inputs.keyMask?.elements(as: Bool.self)
    let origins = inputs.segments.map { segment in
      (0..<segment.keyCount).first {
        keep?[segment.batch * inputs.problem.keyLength + segment.keyStart + $0] != false
      } ?? 0
    }
    return try Self.table(inputs) { index, i, j in
      j > origins[index] ? (j <= i ? 1 : 0) : (j > i ? -1 : 0)
    }.squeezed(1).cast(to: dtype)
  }

  /// Which pairs the mask leaves, bool [b, 1, t, s].
  private static func visible(_ inputs: ExactArguments) throws -> Tensor {
    let s = inputs.problem.keyLength
    let keep = try inputs.keyMask?.elements(as: Bool.self)
    return try table(inputs) { index, i, j in
      let segment = inputs.segments[index]
      let inBand = segment.band.visibleKeys(rows: i..<i + 1, keys: segment.keyCount).contains(j)
      return inBand && keep?[segment.batch * s + segment.keyStart + j] != false ? 1 : 0
    }.cast(to: .bool)
  }

  /// `value` for each pair of tokens of one sequence, 0 between sequences; [b, 1, t, s].
  private static func table(
    _ inputs: ExactArguments, _ value: (_ segment: Int, Int, Int) -> Double
  ) throws -> Tensor {
    let (t, s) = (inputs.problem.queryLength, inputs.problem.keyLength)
    var values = [Double](repeating: 0, count: inputs.problem.batch * t * s)
    for (index, segment) in inputs.segments.enumerated() {
      for i in 0..<segment.queryCount {
        let row = (segment.batch * t + segment.queryStart + i) * s + segment.keyStart
        for j in 0..<segment.keyCount { values[row + j] = value(index, i, j) }
      }
    }
    return try Tensor(values, [inputs.problem.batch, 1, t, s])
  }

  /// The gradients of a scalar computed from these operands.
  func gradients(of total: Tensor) throws -> ExactGradients {
    let sources: OperatorTensors<ExactInput> = [
      .queries: queries, .keys: keys, .values: values, .scale: scale,
      .bias: needsBiasGradient ? bias : nil, .logitDecay: logitDecay, .sinks: sinkLogits,
    ]
    guard total.isTracked else {
      return try sources.mapTensors { try Tensor.zeros($1.shape, dtype: $1.dtype) }
    }
    let gradients = try total.gradients(of: sources.map(\.tensor))
    return ExactGradients(zip(sources.keys, gradients).lazy.map { (key: $0, tensor: $1) })
  }
}

extension Tensor {
  /// The view of shape `target` that was expanded to this one: index 0 of each broadcast axis.
  func collapsed(to target: Shape) throws -> Tensor {
    // Broadcast axes of an empty view may have no index 0; its elements are never read.
    guard elementCount > 0 else { return try .zeros(target, dtype: dtype) }
    var result = self
    for axis in 0..<rank {
      let own = axis - (rank - target.rank)
      if own < 0 || target[own] != shape[axis] { result = try result.sliced(axis, 0..<1) }
    }
    return try result.reshaped(target)
  }
}
