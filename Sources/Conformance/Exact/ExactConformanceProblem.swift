import AttentionOperators
import AttentionTensors

/// The inputs of a case of exact attention.
struct ExactConformanceProblem: OperatorConformanceProblem {
  private let settings: ExactCase
  private(set) var run: OperatorRun<ExactAttention>

  var dtype: DType { settings.dtype }
  var unfused: String? { "cpu.unfused" }

  private var inputs: OperatorTensors<ExactInput> {
    get { run.inputs }
    set { run.inputs = newValue }
  }

  init(_ settings: ExactCase, _ draw: Draw) throws {
    self.settings = settings
    let (b, t, s, h) = (
      settings.batch, settings.queryLength, settings.keyLength, settings.heads
    )
    let dtype = settings.dtype
    let queryShape: Shape = [b, t, h, settings.keyDimension]
    let keyShape: Shape = [b, s, settings.keyValueHeads, settings.keyDimension]
    let valueShape: Shape = [b, s, settings.keyValueHeads, settings.valueDimension]
    // Scores of this standard deviation give one or two keys of a row all the weight.
    let sharpness = settings.has(.sharp) ? 8.0 : 1.0
    // Callers who normalise themselves pass slices of about unit norm.
    let norm =
      settings.has(.cosinePlain) ? 1 / Double(settings.keyDimension).squareRoot() : 1.0
    var queries = try draw.normal("queries", queryShape, size: sharpness * norm, dtype: dtype)
    var keys = try draw.normal("keys", keyShape, size: norm, dtype: dtype)
    var values = try draw.normal("values", valueShape, dtype: dtype)
    if settings.has(.scoresHuge) {
      // The unfused computation keeps scores in float16, whose largest number is 65,504.
      let (query, key) = dtype == .float16 ? (4, 4) : (1 << 17, 1 << 13)
      queries = try Self.steps(queryShape, dtype) { ($0 % 3 + 1) * ($0 % 2 == 0 ? query : -query) }
      keys = try Self.steps(keyShape, dtype) { ($0 % 7 + 1) * key }
    }
    if settings.has(.zeroVectors) {
      queries = try queries.clearing(rows: [0, t / 2])
      keys = try keys.clearing(rows: [1, s - 1])
    }
    if settings.has(.strided) {
      queries = try queries.restrided(1, 2)
      keys = try keys.restrided(1, 3)
      values = try values.restrided(1, 2)
    }
    run = OperatorRun(
      inputs: [.queries: queries, .keys: keys, .values: values], options: settings.options,
      incoming: [
        .output: try draw.normal(
          "output_gradient", [b, t, h, settings.valueDimension], dtype: dtype),
        .logSumExp: settings.has(.logSumExpGradient)
          ? try draw.normal("log_sum_exp_gradient", [b, h, t]) : nil,
      ])
    try drawTerms(draw)
    try convertBias(draw)
    if settings.hidesGarbage { try plantGarbage() }
  }

  /// Places NaN and infinity wherever the mask hides them from everyone, and a row of NaN where some attend to it.
  private mutating func plantGarbage() throws {
    let garbage = try HiddenPlaces(
      settings, keyMask: inputs[.keyMask], inputs[.cumulativeLengths],
      bias: settings.has(.biasInfinite) ? inputs[.bias] : nil)
    inputs = try garbage.planted(in: inputs)
    run.incoming = try run.incoming.mapTensors { output, gradient in
      try garbage.planted(inQueries: gradient, axis: output == .output ? 1 : 2)
    }
  }

  /// A tensor whose row for each token is a small multiple of one number: products are exact and far apart, so
  /// that in any arithmetic the keys with the largest score share all the weight.
  private static func steps(_ shape: Shape, _ dtype: DType, _ number: (Int) -> Int) throws
    -> Tensor
  {
    try Tensor((0..<shape[1]).map { Float(number($0)) }, [1, shape[1], 1, 1])
      .expanded(to: shape).contiguous().cast(to: dtype)
  }

  /// A bias [t,s] so large that scores vanish when added, in float32 as in float64: constant rows, whose keys have
  /// equal weights; rows that rise so steeply that only the last key has weight; and rows in which only some keys
  /// have weight.
  private static func hugeBias(_ draw: Draw, queries: Int, keys: Int) throws -> Tensor {
    let largest = Float.greatestFiniteMagnitude
    let flat: [Float] = [-1e30, 1e30, -largest, largest]
    let steep: [Float] = [-1e10, -1e12]
    let hidden = draw.flags("hidden", count: queries * keys, probability: 0.5)
    var bias = try draw.normal("bias", [queries, keys]).elements(as: Float.self)
    for i in 0..<queries {
      for j in 0..<keys {
        let place = i * keys + j
        switch i % 4 {
        case 0: bias[place] = flat[i / 4 % flat.count]
        case 1: bias[place] = steep[i / 4 % steep.count] + 0x1p20 * Float(j)
        case 2: bias[place] = -1e9 + 0x1p12 * Float(j)
        default: if hidden[place] { bias[place] = flat[i / 4 % 2 * 2] }
        }
      }
    }
    return try Tensor(bias, [queries, keys])
  }

  /// The bias in the dtype of the case, with a shared one if the case has none. As bool it keeps the pairs above a
  /// limit, and none of the last query.
  private mutating func convertBias(_ draw: Draw) throws {
    guard let dtype = settings.biasDType else { return }
    let (t, s) = (settings.queryLength, settings.keyLength)
    let bias = try inputs[.bias] ?? draw.normal("bias", [1, settings.heads, t, s])
    guard dtype == .bool else {
      inputs[.bias] = try bias.cast(to: dtype)
      return
    }
    let sees = try bias.isGreater(than: .full([], -0.5, dtype: bias.dtype))
    let isSeeing = try Tensor((0..<t).map { $0 != t - 1 || t == 1 }, [t, 1])
    inputs[.bias] =
      bias.rank < 2 || bias.shape[bias.rank - 2] == 1
      ? sees : try .select(isSeeing, sees, Tensor([false], []))
  }

  private mutating func drawTerms(_ draw: Draw) throws {
    let (b, t, s, h) = (
      settings.batch, settings.queryLength, settings.keyLength, settings.heads
    )
    for feature in settings.features {
      switch feature {
      case .keyMask, .hiddenPadding:
        // The last row of the batch attends to nothing, and neither do the first causal queries.
        var flags = draw.flags("key_mask", count: b * s, probability: 0.7)
        for j in 0..<s { flags[(b - 1) * s + j] = false }
        if s > 0 { flags[0] = b == 1 }
        inputs[.keyMask] = try Tensor(flags, [b, s])
      case .packed:
        inputs[.cumulativeLengths] = try draw.cumulativeLengths(total: t, sequences: 5)
      case .biasFull:
        inputs[.bias] = try draw.normal("bias", [b, h, t, s], dtype: settings.dtype)
      case .biasHeads: inputs[.bias] = try draw.normal("bias", [1, h, t, s])
      case .biasBatch: inputs[.bias] = try draw.normal("bias", [b, 1, 1, s])
      case .biasMatrix: inputs[.bias] = try draw.normal("bias", [t, s])
      case .biasInfinite:
        let shape: Shape = [b, 1, 1, s]
        inputs[.bias] = try Tensor.select(
          Tensor(draw.flags("bias places", count: b * s, probability: 0.7), shape),
          draw.normal("bias", shape), .full([], -.infinity))
      case .biasHuge: inputs[.bias] = try Self.hugeBias(draw, queries: t, keys: s)
      case .logitDecay:
        inputs[.logitDecay] = try -draw.normal("logit_decay", [b, t, h]).absolute()
      case .logitDecayCut:
        let shape: Shape = [b, t, h]
        let count = shape.elementCount
        let lowest = try Tensor.select(
          Tensor(draw.flags("lowest", count: count, probability: 0.5), shape),
          .full([], -.infinity), .full([], -Double(Float.greatestFiniteMagnitude)))
        inputs[.logitDecay] = try Tensor.select(
          Tensor(draw.flags("decay places", count: count, probability: 0.2), shape), lowest,
          -draw.normal("logit_decay", shape).absolute())
      case .sinks: inputs[.sinks] = try draw.normal("sinks", [h])
      case .sinksExtreme:
        // The unfused computation keeps sums in bfloat16, whose range ends slightly before that of float32.
        let largest: Float = 3e38
        inputs[.sinks] = try Tensor((0..<h).map { [-.infinity, -largest, largest, 1][$0 % 4] })
      case .scaleHeads:
        // One of the heads has a negative scale.
        let sizes = try draw.uniform("scale", [h], from: 0.5, to: 1.5)
        let signs = try Tensor((0..<h).map { $0 == 1 ? -1 : 1 } as [Float])
        inputs[.scale] = try sizes * signs * (run.options.isCosine ? 8 : 0.3)
      default: break
      }
    }
  }

  /// Sizes for dO and v of size one, where dP = dO·v has size √v.
  ///
  /// With the weights P, Σ_j P_ij k_j is smaller than k by the same factor as the output is smaller than v, and
  /// Σ_i P_ij q_i larger than q by the same factor as the gradient of v is larger than dO.
  func termSizes(reference: [String: Tensor]) throws -> [String: Double] {
    guard let output = reference["output"], let valuesGradient = reference["values_gradient"] else {
      return [:]
    }
    let product = Double(settings.valueDimension).squareRoot()
    let along = try product * output.rootMeanSquare()
    let across = try product * valuesGradient.rootMeanSquare()
    let rows = Double(settings.batch * settings.queryLength).squareRoot()
    let (query, key) = try similaritySizes()
    let dimension = Double(settings.keyDimension).squareRoot()
    // Rows of scores that share an element of the bias;
    let pairs = rows * rows * Double(settings.heads * settings.keyLength)
    let shared = pairs / Double(max(1, inputs[.bias]?.elementCount ?? 1))
    return [
      "queries_gradient": along * query.sensitivity * key.size,
      "keys_gradient": across * key.sensitivity * query.size,
      "bias_gradient": along * (shared / Double(max(1, settings.keyLength))).squareRoot(),
      "logit_decay_gradient": across * Double(settings.queryLength).squareRoot(),
      "scale_gradient": along * rows * dimension * query.size * key.size,
      "sinks_gradient": along * rows,
      // The logarithm of a sum with a relative rounding error.
      "log_sum_exp": 1,
    ]
  }

  /// For queries and keys: the size of an element in the product, and how much the scores change with an element
  /// if the other operand's element is 1.
  private func similaritySizes() throws -> (query: OperandSize, key: OperandSize) {
    let sizes = try (inputs[.queries]!.rootMeanSquare(), inputs[.keys]!.rootMeanSquare())
    let scale = try inputs[.scale]?.rootMeanSquare() ?? number
    guard run.options.normalizedGroups != nil else {
      return (
        OperandSize(size: sizes.0, sensitivity: scale),
        OperandSize(size: sizes.1, sensitivity: scale)
      )
    }
    // Normalising divides by a slice's norm, which for few elements is occasionally much smaller than usual.
    let width = Double(settings.keyDimension / groups).squareRoot()
    return (
      OperandSize(size: 1 / width, sensitivity: try scale * inverseNorms(inputs[.queries]!)),
      OperandSize(size: 1 / width, sensitivity: try scale * inverseNorms(inputs[.keys]!))
    )
  }

  /// The root mean square of the inverse norms of the slices that are not zero.
  private func inverseNorms(_ rows: Tensor) throws -> Double {
    let width = settings.keyDimension / groups
    guard width > 0 else { return 0 }
    let numbers = try rows.elements(as: Double.self)
    let squares = stride(from: 0, to: numbers.count, by: width).map { start in
      numbers[start..<start + width].reduce(0) { $0 + ($1.isFinite ? $1 * $1 : 0) }
    }.filter { $0 > 0 }
    let mean = squares.reduce(0) { $0 + 1 / $1 } / Double(max(1, squares.count))
    return mean.squareRoot()
  }

  private struct OperandSize {
    let size: Double
    let sensitivity: Double
  }

  private var groups: Int { run.options.groups }

  /// The scale where it is one number.
  private var number: Double { run.options.factor(dimension: settings.keyDimension) }

  /// A query that attends to nothing has an output and a gradient of exactly zero.
  func exactViolation(_ results: [String: Tensor], reference: [String: Tensor]) throws -> String? {
    guard let sums = reference["log_sum_exp"] else { return nil }
    let isEmpty = try sums.isEqual(to: .full([], -.infinity)).permuted([0, 2, 1]).unsqueezed(3)
    for name in ["output", "queries_gradient"] {
      guard let tensor = results[name] else { continue }
      let zero = try Tensor.zeros([], dtype: tensor.dtype)
      let rest = try Tensor.select(isEmpty, tensor, zero)
      if let worst = try Deviation(of: rest, from: .zeros(rest.shape)).worst {
        return "\(name) of a query that sees no key at \(worst)"
      }
    }
    return nil
  }
}
