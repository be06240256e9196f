import AttentionTensors

/// The arguments of one call of exact attention, in the form kernels read: without history.
public final class ExactArguments: OperatorArguments {
  public typealias Op = ExactAttention

  public let problem: ExactProblem
  public let options: ExactOptions
  /// The sequences, which do not attend to each other.
  public let segments: Segments
  /// The tensors as the caller gave them.
  private let tensors: OperatorTensors<ExactInput>
  /// [b,t,h,k], [b,s,hₖ,k], [b,s,hₖ,v]: views as the caller gave them.
  public let queries: Tensor
  public let keys: Tensor
  public let values: Tensor
  /// The similarity's factor; 1 if each head has its own.
  public let factor: Double
  /// The similarity's factor for each query head; empty if the factors are a tensor on a GPU.
  public let scale: [Float]
  /// Contiguous bool [b,s].
  public let keyMask: Tensor?
  /// ALiBi's slope for each query head.
  let slopes: [Float]?
  /// The bias in place, as a view [b,h,t,s] with zero strides along axes where it broadcasts.
  public let bias: Tensor?
  /// The cumulative sums of the logit decay, [b,h,t] row-major, restarted at each packed sequence and each
  /// cut; nil on a GPU, whose kernels compute them.
  let decaySums: [Double]?
  /// The number of cuts up to each token, in the same order; nil if there are none. See ``cuttingDecay``.
  let decayCuts: [Int32]?
  /// The sink of each query head; nil on a GPU.
  let sinkNumbers: [Float]?
  /// Whether pairs within a sequence may be masked: by the mask, by a bias of −∞, or by a decay that cuts.
  let hidesPairs: Bool
  /// Where results are wanted.
  public let destinations: OperatorDestinations<ExactAttention>

  /// A tensor as the caller gave it.
  public subscript(input: ExactInput) -> Tensor? { tensors[input] }

  var dtype: DType { problem.dtype }
  /// The device of the tensors.
  var device: Device { queries.device }
  var normalizedGroups: Int? { problem.normalizedGroups }
  /// The factors [h], if each head has its own.
  var scales: Tensor? { tensors[.scale] }
  var biasShape: Shape? { problem.bias }
  var logitDecay: Tensor? { tensors[.logitDecay] }
  /// The shape of the bias's gradient; nil if it is not needed.
  var biasGradientShape: Shape? { problem.needsBiasGradient ? biasShape : nil }
  /// Query heads that share a key/value head.
  var headsPerGroup: Int { problem.heads / problem.keyValueHeads }

  public init(
    _ call: OperatorCall<ExactAttention>, destinations: OperatorDestinations<ExactAttention>
  )
    throws
  {
    let inputs = call.inputs.detached()
    problem = call.problem
    options = call.options
    segments = call.sequences
    tensors = inputs
    self.destinations = destinations
    queries = try inputs.required(.queries)
    keys = try inputs.required(.keys)
    values = try inputs.required(.values)
    // Elements on a GPU are not read here.
    let isReadable = queries.device == .cpu
    let (heads, scales) = (problem.heads, inputs[.scale])
    factor = scales == nil ? options.factor(dimension: problem.keyDimension) : 1
    if let scales {
      scale = isReadable ? try scales.elements(as: Float.self) : []
    } else {
      scale = [Float](repeating: Float(factor), count: heads)
    }
    keyMask = try inputs[.keyMask]?.contiguous()
    slopes = options.terms.alibi?.slopes(heads: heads)
    bias = try inputs[.bias]?.expanded(
      to: [problem.batch, heads, problem.queryLength, problem.keyLength])
    let sums =
      isReadable
      ? try Self.runningSums(inputs[.logitDecay], segments: segments, keyMask: keyMask) : nil
    (decaySums, decayCuts) = (sums?.sums, sums?.cuts)
    hidesPairs = keyMask != nil || bias != nil || decayCuts != nil || segments.hidesPairs
    sinkNumbers = isReadable ? try Self.sinkNumbers(inputs) : nil
  }
}

extension ExactArguments {
  /// A logit decay up to this one, −∞ above all, cuts its head's sequence: tokens from it on and those
  /// before it do not see each other. No sum goes over it, so that what lies behind keeps its digits.
  static let cuttingDecay = -0x1p64

  /// The sums start after the first key of each sequence that the mask keeps: decays up to there lie between
  /// no query and a key that it attends to, and may have any value. Before that key, sums run backwards.
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

extension ExactArguments {
  /// The keys of `columns`, counted in the sequence, that the key mask takes away; counted from the first.
  func maskedKeys(_ segment: Segment, _ columns: Range<Int>) throws -> [Int] {
    guard let keyMask else { return [] }
    let first = segment.batch * problem.keyLength + segment.keyStart + columns.lowerBound
    return try keyMask.withUnsafeRawPointer {
      let keep = UnsafeRawBufferPointer(start: $0 + first, count: columns.count)
      return keep.indices.filter { keep[$0] == 0 }
    }
  }

  /// Whether the key mask keeps any of the keys `columns` of the sequence; tiles without one are skipped.
  func leavesKeys(_ segment: Segment, _ columns: Range<Int>) throws -> Bool {
    guard let keyMask else { return true }
    let first = segment.batch * problem.keyLength + segment.keyStart + columns.lowerBound
    return try keyMask.withUnsafeRawPointer {
      UnsafeRawBufferPointer(start: $0 + first, count: columns.count).contains { $0 != 0 }
    }
  }
}
