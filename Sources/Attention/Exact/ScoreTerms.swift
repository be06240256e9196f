import AttentionCLibrary
import AttentionCPUKernels
import AttentionCUDAKernels
import AttentionTensors

/// A bias that falls with distance: − slope · |distance|.
///
/// Reference: Press, Smith, Lewis, *Train short, test long: attention with linear biases* (2022).
public enum ALiBi: Hashable, Sendable {
  /// Slopes 2^(−8(h+1)/H) for H heads.
  case standard
  /// One slope for each query head.
  case slopes([Float])

  func slopes(heads: Int) -> [Float] {
    switch self {
    case .standard:
      (0..<heads).map { Float(pow(2, -8 * Double($0 + 1) / Double(heads))) }
    case .slopes(let slopes): slopes
    }
  }
}

/// The terms applied to scores between the similarity and the mask, in this order.
public struct ScoreTerms: Sendable {
  /// s ← c · tanh(s / c)
  public var softcap: Double?
  public var alibi: ALiBi?
  /// Added to the scores; broadcasts to [batch, heads, queries, keys]; a tracked tensor gets a gradient. −∞
  /// masks a pair. A bool tensor, without a gradient, is true where the query may attend to the key.
  ///
  /// It is read in place, with any strides and any floating-point dtype, and added in float32.
  public var bias: Tensor?
  /// [batch, length, heads], natural log: adds c_i − c_j with c the cumulative sum along the sequence
  /// (forgetting attention; Lin et al., *Forgetting Transformer*, 2025). A decay of at most −2⁶⁴, such as −∞,
  /// cuts the sequence: tokens from it on and tokens before it do not attend to each other.
  public var logitDecay: Tensor?
  /// [heads]: one more logit in the softmax's sum, without a value. −∞ adds nothing; ∞ makes the output zero.
  public var sinks: Tensor?

  public init(
    softcap: Double? = nil, alibi: ALiBi? = nil, bias: Tensor? = nil, logitDecay: Tensor? = nil,
    sinks: Tensor? = nil
  ) {
    self.softcap = softcap
    self.alibi = alibi
    self.bias = bias
    self.logitDecay = logitDecay
    self.sinks = sinks
  }
}

/// Which terms a problem has.
public struct ScoreTermSet: OptionSet, Hashable, Sendable {
  public let rawValue: UInt8

  public init(rawValue: UInt8) { self.rawValue = rawValue }

  public static let softcap = ScoreTermSet(rawValue: 1)
  public static let alibi = ScoreTermSet(rawValue: 2)
  public static let bias = ScoreTermSet(rawValue: 4)
  public static let logitDecay = ScoreTermSet(rawValue: 8)
  public static let sinks = ScoreTermSet(rawValue: 16)

  /// Those that change scores; a sink only joins their sum.
  public static let ofScores: ScoreTermSet = [.softcap, .alibi, .bias, .logitDecay]
  /// Those that never increase the magnitude of a score.
  static let bounded: ScoreTermSet = [.softcap]

  /// Their names in descriptions of problems, except for the bias, which is described by its shape.
  static let names: [(term: ScoreTermSet, name: String)] = [
    (.softcap, "softcap"), (.alibi, "ALiBi"), (.logitDecay, "logit decay"), (.sinks, "sinks"),
  ]
}

/// The terms that are not tensors.
public struct ScoreTermOptions: Hashable, Sendable {
  public var softcap: Double?
  public var alibi: ALiBi?

  public init(softcap: Double? = nil, alibi: ALiBi? = nil) {
    self.softcap = softcap
    self.alibi = alibi
  }
}

extension ScoreTerms {
  /// The terms that are tensors.
  var inputs: OperatorTensors<ExactInput> {
    [.bias: bias, .logitDecay: logitDecay, .sinks: sinks]
  }

  var options: ScoreTermOptions { ScoreTermOptions(softcap: softcap, alibi: alibi) }
}

extension ExactAttention {
  /// Validates the terms of a call against the shape of its scores. Returns the terms that are present.
  static func checkTerms(
    _ inputs: OperatorTensors<ExactInput>, _ options: ScoreTermOptions, scores: Shape
  ) throws -> ScoreTermSet {
    let heads = scores[1]
    var terms: ScoreTermSet = []
    if let softcap = options.softcap {
      guard softcap > 0 && softcap.isFinite else {
        throw AttentionError.invalidArgument("softcap", was: "\(softcap)", mustBe: "above 0")
      }
      terms.insert(.softcap)
    }
    if let alibi = options.alibi {
      if case .slopes(let slopes) = alibi, slopes.count != heads {
        throw AttentionError.invalidArgument(
          "alibi slopes", was: "\(slopes.count) numbers", mustBe: "one for each of \(heads) heads")
      }
      terms.insert(.alibi)
    }
    if let bias = inputs[.bias] {
      guard bias.dtype.isFloatingPoint || bias.dtype == .bool,
        (try? bias.detached().expanded(to: scores)) != nil
      else {
        throw AttentionError.invalidArgument(
          "bias", was: "\(bias.dtype.rawValue) \(bias.shape)",
          mustBe: "floating-point or bool, and broadcastable to \(scores)")
      }
      terms.insert(.bias)
    }
    if let decay = inputs[.logitDecay] {
      try check(logitDecay: decay, shape: [scores[0], scores[2], heads], keys: scores[3])
      terms.insert(.logitDecay)
    }
    if inputs[.sinks] != nil {
      try checkVector(inputs, .sinks, count: heads)
      terms.insert(.sinks)
    }
    return terms
  }
}

// --- What kernels read of the terms

/// A bound on scores: s ← c · tanh(s / c).
struct ScoreCap {
  let limit: Float

  init?(_ options: ScoreTermOptions) {
    guard let softcap = options.softcap else { return nil }
    limit = Float(softcap)
  }

  /// The definition.
  func callAsFunction(_ s: Tensor) throws -> Tensor {
    let limit = Double(limit)
    return try (s / limit).tanh() * limit
  }

  func apply(
    _ kernels: cpu_kernels, _ rows: Int, _ columns: Int, _ s: UnsafeMutablePointer<Float>,
    stride: Int
  ) {
    kernels.softcap(rows, columns, s, stride, limit)
  }

  /// Makes gradients of capped scores those of the scores before, in place.
  func backward(
    _ kernels: cpu_kernels, _ rows: Int, _ columns: Int, _ capped: UnsafePointer<Float>,
    _ gradient: UnsafeMutablePointer<Float>, stride: Int
  ) {
    kernels.softcap_backward(rows, columns, capped, gradient, stride, limit)
  }
}

extension AttentionTerms {
  /// - Parameter segments: the address of the list of sequences.
  init(_ inputs: ExactArguments, segments: UInt64, _ operands: FlashOperands) throws {
    func stride(_ axis: Int) -> Int64 { Int64(inputs.bias?.strides[axis] ?? 0) }
    self.init(
      softcap: inputs.cap?.limit ?? 0, slopes: try operands.address(inputs.slopes, "ALiBi slopes"),
      bias: try inputs.bias.map { try operands.address(holding: $0) } ?? 0, bias_batch: stride(0),
      bias_head: stride(1), bias_query: stride(2), bias_key: stride(3),
      decay_sums: try inputs.logitDecay.map { _ in
        try LogitDecaySums(inputs, segments: segments, operands).forward()
      } ?? 0)
  }
}

extension AttentionSink {
  /// - Parameter gradient: in a backward pass, where each query's part of the sinks' gradient goes.
  init(_ inputs: ExactArguments, _ operands: FlashOperands, gradient: Tensor? = nil) throws {
    self.init(
      scores: try operands.address(inputs.sinkLogits, .float32),
      gradient: try gradient?.deviceAddress() ?? 0)
  }
}

extension ExactArguments {
  var cap: ScoreCap? { ScoreCap(options.terms) }
  var hasSink: Bool { problem.terms.contains(.sinks) }
  /// The sinks [h] as the caller gave them.
  var sinkLogits: Tensor? { self[.sinks] }

  /// The sinks as numbers.
  static func sinkNumbers(_ inputs: OperatorTensors<ExactInput>) throws -> [Float]? {
    try inputs[.sinks]?.elements(as: Float.self)
  }

  /// The sink of a query head; nil where there is none, or one of −∞, which adds nothing.
  func sink(head: Int) -> Float? {
    guard let sink = sinkNumbers?[head], sink != -.infinity else { return nil }
    return sink
  }
}
