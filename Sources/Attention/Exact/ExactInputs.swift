import AttentionTensors

/// The validated arguments of one call of exact attention, in the form kernels read.
public final class ExactInputs: Sendable {
  public let problem: ExactProblem
  /// [b,t,h,k], [b,s,hₖ,k], [b,s,hₖ,v]: views as the caller gave them, without history.
  let queries: Tensor
  let keys: Tensor
  let values: Tensor
  let segments: Segments
  /// The similarity's factor; 1 where each head has its own.
  let factor: Double
  /// The similarity's factor for each query head; empty where only ``scales`` on a GPU has it.
  let scale: [Float]
  /// The factors [h] as the caller gave them, where each head has one.
  let scales: Tensor?
  let normalizedGroups: Int?
  /// Contiguous bool [b,s].
  let keyMask: Tensor?
  let softcap: Float?
  /// One for each query head.
  let slopes: [Float]?
  /// A view [b,h,t,s] of the bias as it lies, with zero strides where it broadcasts, and its own shape.
  let bias: Tensor?
  let biasShape: Shape?
  /// The running sums of the logit decay, [b,h,t] row-major, restarted at each packed sequence and each
  /// cut; nil on a GPU, which sums itself.
  let decaySums: [Double]?
  /// The number of cuts up to each token, in the same order; nil where there is none. See
  /// ``cuttingDecay``.
  let decayCuts: [Int32]?
  let logitDecay: Tensor?
  /// One for each query head; nil on a GPU.
  let sinks: [Float]?
  /// The same as the caller gave them.
  let sinkLogits: Tensor?
  /// Whether a query may not see a key of its own sequence. A bias of −∞ hides as a mask does, and so does a
  /// decay that cuts.
  let hidesPairs: Bool
  /// Where results are wanted.
  let places: ExactPlaces

  var dtype: DType { problem.dtype }
  /// Where the tensors are.
  var device: Device { queries.device }
  var hasSinks: Bool { sinkLogits != nil }
  /// The shape of the bias's gradient; nil where it has none.
  var biasGradientShape: Shape? { problem.needsBiasGradient ? biasShape : nil }
  var hasQueries: Bool { problem.batch > 0 && problem.queryLength > 0 }
  /// Query heads that share a key/value head.
  var headsPerGroup: Int { problem.heads / problem.keyValueHeads }

  /// `device` is where the problem is to be solved, nil for where the tensors are: a verdict may be asked for
  /// another device.
  ///
  /// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)`` naming the first argument that does
  ///   not fit the others.
  package init(
    queries: Tensor, keys: Tensor, values: Tensor, similarity: Similarity, mask: AttentionMask,
    terms: ScoreTerms, allowsTF32: Bool = false, device: Device? = nil, needsGradient: Bool,
    places: ExactPlaces = ExactPlaces()
  ) throws {
    try ExactInputs.checkDevices(queries, keys, values, similarity, mask, terms)
    // Of a question about a call, and on a GPU, numbers are not read here.
    let isReadable = queries.device == .cpu && !queries.isPlaceholder
    let sizes = try ExactSizes(queries, keys, values)
    let (batch, t, s, heads) = (sizes.batch, sizes.queries, sizes.keys, sizes.heads)
    self.places = places
    self.queries = queries.detached()
    self.keys = keys.detached()
    self.values = values.detached()

    normalizedGroups = similarity.normalizedGroups
    if case .cosine(_, let groups, _) = similarity {
      guard groups >= 1, sizes.keyDimension % groups == 0 else {
        throw AttentionError.invalidArgument(
          "groups", was: "\(groups)",
          mustBe: "at least 1 and a divisor of the dimension \(sizes.keyDimension)")
      }
    }
    factor = try resolve(factor: similarity.scale, dimension: sizes.keyDimension)
    scale = try resolve(scale: similarity.scale, factor: factor, heads: heads)
    if case .perHead(let tensor) = similarity.scale {
      scales = tensor.detached()
    } else {
      scales = nil
    }
    try validate(window: mask.window)
    keyMask = try resolve(keyMask: mask.keyMask, shape: [batch, s])
    segments = try Segments(mask, batch: batch, queries: t, keys: s)

    if let softcap = terms.softcap, !(softcap > 0 && softcap.isFinite) {
      throw AttentionError.invalidArgument("softcap", was: "\(softcap)", mustBe: "above 0")
    }
    softcap = terms.softcap.map { Float($0) }
    slopes = terms.alibi?.slopes(heads: heads)
    if let slopes, slopes.count != heads {
      throw AttentionError.invalidArgument(
        "alibi slopes", was: "\(slopes.count) numbers", mustBe: "one for each of \(heads) heads")
    }
    bias = try resolve(bias: terms.bias, shape: [batch, heads, t, s])
    biasShape = terms.bias?.shape
    logitDecay = terms.logitDecay?.detached()
    try ExactInputs.check(logitDecay: terms.logitDecay, shape: [batch, t, heads], keys: s)
    let sums =
      isReadable
      ? try ExactInputs.runningSums(terms.logitDecay, segments: segments, keyMask: keyMask) : nil
    (decaySums, decayCuts) = (sums?.sums, sums?.cuts)
    hidesPairs = keyMask != nil || bias != nil || decayCuts != nil || segments.hidesPairs
    sinkLogits = try terms.sinks.map { try vector($0, "sinks", count: heads) }
    sinks = isReadable ? try sinkLogits?.elements(as: Float.self) : nil

    problem = ExactProblem(
      batch: batch, queryLength: t, keyLength: s, heads: heads,
      keyValueHeads: sizes.keyValueHeads, keyDimension: sizes.keyDimension,
      valueDimension: sizes.valueDimension, dtype: queries.dtype, device: device ?? queries.device,
      allowsTF32: allowsTF32, normalizedGroups: normalizedGroups,
      isCosine: { if case .cosine = similarity { true } else { false } }(),
      isCausal: mask.isCausal, alignment: mask.alignment, window: mask.window,
      hasKeyMask: mask.keyMask != nil,
      packedSequences: mask.cumulativeLengths == nil ? nil : segments.count,
      visiblePairs: segments.visiblePairs,
      hasSoftcap: softcap != nil, hasALiBi: slopes != nil, bias: terms.bias?.shape,
      biasDType: terms.bias?.dtype, hasLogitDecay: logitDecay != nil, hasSinks: sinkLogits != nil,
      needsGradient: needsGradient,
      needsBiasGradient: needsGradient && bias?.dtype.isFloatingPoint == true
        && terms.bias?.isTracked == true)
  }
}

extension ExactInputs {
  /// Tensors that a kernel reads are where the queries are; lengths of packed sequences are read by the
  /// processor.
  private static func checkDevices(
    _ queries: Tensor, _ keys: Tensor, _ values: Tensor, _ similarity: Similarity,
    _ mask: AttentionMask, _ terms: ScoreTerms
  ) throws {
    let device = queries.device
    func check(_ tensor: Tensor?, _ name: String) throws {
      guard let tensor, tensor.device != device else { return }
      throw AttentionError.invalidArgument(
        name, was: "on \(tensor.device)", mustBe: "on \(device), as the queries")
    }
    try check(keys, "keys")
    try check(values, "values")
    if case .perHead(let tensor) = similarity.scale { try check(tensor, "scale") }
    try check(mask.keyMask, "keyMask")
    try check(terms.bias, "bias")
    try check(terms.logitDecay, "logitDecay")
    try check(terms.sinks, "sinks")
  }

  private static func check(logitDecay decay: Tensor?, shape: Shape, keys: Int) throws {
    guard let decay else { return }
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

  /// A logit decay up to this one, −∞ above all, cuts its head's sequence: tokens from it on and those
  /// before it do not see each other. No sum goes over it, so that what lies behind keeps its digits.
  static let cuttingDecay = -0x1p64

  /// The sums begin behind the first key of each sequence that the mask leaves: decays up to there lie between
  /// no query and a key that it sees, and may be anything. Before it they count backwards.
  private static func runningSums(_ decay: Tensor?, segments: Segments, keyMask: Tensor?) throws
    -> (sums: [Double], cuts: [Int32]?)?
  {
    guard let decay else { return nil }
    let (t, heads) = (decay.shape[1], decay.shape[2])
    let values = try decay.elements(as: Double.self)
    let keep = try keyMask?.elements(as: Bool.self)
    var sums = [Double](repeating: 0, count: values.count)
    var cuts = [Int32](repeating: 0, count: values.count)
    for segment in segments {
      let places = segment.queryStart..<segment.queryStart + segment.queryCount
      guard let origin = places.first(where: { keep?[segment.batch * t + $0] != false }) else {
        continue
      }
      for head in 0..<heads {
        let base = (segment.batch * heads + head) * t
        func value(_ i: Int) -> Double { values[(segment.batch * t + i) * heads + head] }
        for i in places.suffix(from: origin + 1) {
          let isCut = value(i) <= cuttingDecay
          sums[base + i] = isCut ? 0 : sums[base + i - 1] + value(i)
          cuts[base + i] = cuts[base + i - 1] + (isCut ? 1 : 0)
        }
        for i in places.prefix(upTo: origin).reversed() {
          let isCut = value(i + 1) <= cuttingDecay
          sums[base + i] = isCut ? 0 : sums[base + i + 1] - value(i + 1)
          cuts[base + i] = cuts[base + i + 1] - (isCut ? 1 : 0)
        }
      }
    }
    return (sums, cuts.contains { $0 != 0 } ? cuts : nil)
  }
}

extension ExactInputs {
  /// The sink of a query head; nil where there is none, or one of −∞, which adds nothing.
  func sink(head: Int) -> Float? {
    guard let sink = sinks?[head], sink != -.infinity else { return nil }
    return sink
  }

  /// The keys of `columns`, counted in the sequence, that the key mask takes away; counted from the first.
  func maskedKeys(_ segment: Segment, _ columns: Range<Int>) throws -> [Int] {
    guard let keyMask else { return [] }
    let first = segment.batch * problem.keyLength + segment.keyStart + columns.lowerBound
    return try keyMask.withUnsafeRawPointer {
      let keep = UnsafeRawBufferPointer(start: $0 + first, count: columns.count)
      return keep.indices.filter { keep[$0] == 0 }
    }
  }

  /// Whether the key mask leaves any of the keys `columns`, counted in the sequence: tiles of padding
  /// are passed over.
  func leavesKeys(_ segment: Segment, _ columns: Range<Int>) throws -> Bool {
    guard let keyMask else { return true }
    let first = segment.batch * problem.keyLength + segment.keyStart + columns.lowerBound
    return try keyMask.withUnsafeRawPointer {
      UnsafeRawBufferPointer(start: $0 + first, count: columns.count).contains { $0 != 0 }
    }
  }
}
