import AttentionTensors

/// Exact attention as an operator.
public enum ExactAttention: Operator {
  public typealias Input = ExactInput
  public typealias Output = ExactOutput
  public typealias Options = ExactOptions
  public typealias Problem = ExactProblem
  public typealias Sequences = Segments
  public typealias Arguments = ExactArguments

  public static let name = "attention"
  public static let readBackward = [ExactOutput.output, .logSumExp]

  /// Among equal estimates the earlier kernel is preferred.
  public static let registry = KernelRegistry<ExactAttention>([
    DecodeExactKernel(), TiledExactKernel.bfloat16, TiledExactKernel.float32,
    PlainExactKernel.unfused, PlainExactKernel.reference, FlashExactKernel.half,
    FlashExactKernel.tf32, FlashExactKernel.float32,
  ])

  public static func shape(of output: ExactOutput, in problem: ExactProblem) -> Shape {
    switch output {
    case .output: [problem.batch, problem.queryLength, problem.heads, problem.valueDimension]
    case .logSumExp: [problem.batch, problem.heads, problem.queryLength]
    }
  }

  public static func dtype(of output: ExactOutput, in problem: ExactProblem) -> DType {
    output == .output ? problem.dtype : .float32
  }
}

/// A kernel of exact attention.
public protocol ExactKernel: OperatorKernel where Op == ExactAttention {}

/// What a kernel of exact attention computes.
public typealias ExactOutputs = OperatorTensors<ExactOutput>

extension ExactOutputs {
  /// The outputs, which every kernel computes and backward passes read.
  public var output: Tensor { self[.output]! }
  public var logSumExp: Tensor { self[.logSumExp]! }
}

/// The gradients of exact attention, float32 or wider; they are rounded to the inputs' dtypes. That of the bias
/// has the bias's own shape and is missing where the problem does not ask for it.
public typealias ExactGradients = OperatorTensors<ExactInput>

/// The tensors that exact attention reads.
public enum ExactInput: String, OperatorInput {
  case queries, keys, values, bias
  case keyMask = "key_mask"
  case cumulativeLengths = "cumulative_lengths"
  case scale
  case logitDecay = "logit_decay"
  case sinks

  /// `scale` is the name of the common factor there.
  public var field: String { self == .scale ? "head_scales" : rawValue }

  public var facts: InputFacts {
    switch self {
    case .queries: .operand("[b,t,h,k]")
    case .keys: .operand("[b,s,hk,k]", "hk divides h")
    case .values: .operand("[b,s,hk,v]")
    case .bias:
      InputFacts(
        "broadcasts to [b,h,t,s]",
        "added after scaling; if bool, true where a key may be attended to",
        kind: .floatingPointOrBool
      )
    case .keyMask: InputFacts("[b,s]", "true where a key may be attended to", kind: .bool)
    case .cumulativeLengths: .cumulativeLengths
    case .scale: InputFacts("[h]", "one scale per head, in place of --scale")
    case .logitDecay:
      InputFacts("[b,t,h]", "adds c_i - c_j to the logits, c the cumulative sum")
    case .sinks: InputFacts("[h]", "one more logit in the softmax's sum, without a value")
    }
  }
}

/// The tensors that exact attention computes.
public enum ExactOutput: String, OperatorOutput {
  /// [b,t,h,v] in the inputs' dtype.
  case output
  /// [b,h,t] in float32.
  case logSumExp = "log_sum_exp"
}

/// The arguments of exact attention that are not tensors.
public struct ExactOptions: Hashable, Sendable {
  /// Whether the similarity is a cosine.
  public var isCosine = false
  /// The number of equal slices that are normalised for cosine similarity.
  public var groups = 1
  /// Whether the kernel normalises for cosine similarity; otherwise the caller has.
  public var normalizes = true
  /// The factor of the similarity of all heads; nil for 1/√k, or ``cosineScale`` for cosine similarity.
  /// Ignored if heads have their own scales.
  public var scale: Double?
  public var isCausal = false
  public var alignment = Alignment.bottomRight
  public var window: Window?
  /// The score terms that are not tensors.
  public var terms = ScoreTermOptions()
  public var allowsTF32 = false

  /// The default scale of cosine similarity.
  public static let cosineScale = 8.0

  public init() {}

  /// Sets the options of a similarity. Returns the scales per head, if it has them.
  mutating func set(_ similarity: Similarity) -> Tensor? {
    if case .cosine(_, let groups, let normalizes) = similarity {
      (isCosine, self.groups, self.normalizes) = (true, groups, normalizes)
    }
    switch similarity.scale {
    case nil: return nil
    case .number(let number):
      scale = number
      return nil
    case .perHead(let tensor): return tensor
    }
  }

  /// The number of slices that the kernel normalises; nil if it does not normalise.
  package var normalizedGroups: Int? { isCosine && normalizes ? groups : nil }

  /// The factor of the similarity unless heads have their own scales; 1 if the dimension is 0.
  package func factor(dimension: Int) -> Double {
    if let scale { return scale }
    if isCosine { return Self.cosineScale }
    return dimension == 0 ? 1 : 1 / Double(dimension).squareRoot()
  }
}
