import AttentionTensors

/// A call of exact attention without its numbers: everything from which kernels derive objections and costs.
public struct ExactProblem: OperatorProblem {
  public var batch: Int
  public var queryLength: Int
  public var keyLength: Int
  public var heads: Int
  public var keyValueHeads: Int
  public var keyDimension: Int
  public var valueDimension: Int
  public var dtype: DType
  public var device: Device
  /// Whether float32 operands of products may be rounded to TF32.
  public var allowsTF32: Bool
  /// The slices of cosine similarity that the kernel normalises; nil if it does not.
  public var normalizedGroups: Int?
  public var isCosine: Bool
  public var isCausal: Bool
  public var alignment: Alignment
  public var window: Window?
  public var hasKeyMask: Bool
  /// The number of packed sequences; nil if the batch is not packed.
  public var packedSequences: Int?
  /// The number of pairs of a query and a key inside the band, over all sequences of one head.
  public var visiblePairs: Int
  /// The score terms.
  public var terms: ScoreTermSet
  /// The bias's own shape.
  public var bias: Shape?
  /// The bias's dtype, floating-point or bool. Kernels read it in place.
  public var biasDType: DType?
  public var needsGradient: Bool
  /// Whether the gradient of the bias is needed, if gradients are.
  public var wantsBiasGradient: Bool
  public var needsBiasGradient: Bool { needsGradient && wantsBiasGradient }

  public var hasWork: Bool { batch > 0 && queryLength > 0 }

  /// Such as `2×1024×8×64 by 2×1024×2×64 float32, causal bottom-right, with gradients`.
  public var description: String {
    var words = [
      "\(batch)×\(queryLength)×\(heads)×\(keyDimension) by "
        + "\(batch)×\(keyLength)×\(keyValueHeads)×\(valueDimension) \(dtype.rawValue)"
    ]
    if isCosine {
      words.append(
        normalizedGroups.map { "cosine in \($0) group\($0 == 1 ? "" : "s")" }
          ?? "cosine, normalised before")
    }
    if isCausal { words.append("causal \(alignment.rawValue)") }
    if let window {
      let text = { (limit: Int?) in limit.map(String.init) ?? "all" }
      words.append("window \(text(window.left)),\(text(window.right))")
    }
    if hasKeyMask { words.append("key mask") }
    if let packedSequences { words.append("\(packedSequences) packed sequences") }
    for (term, name) in ScoreTermSet.names where terms.contains(term) { words.append(name) }
    if let bias {
      let kind = biasDType.map { $0 == .float32 ? "" : "\($0.rawValue) " } ?? ""
      words.append("\(kind)bias \(bias)")
    }
    if needsGradient { words.append("with gradients") }
    if allowsTF32 { words.append("TF32 allowed") }
    if device != .cpu { words.append("on \(device)") }
    return words.joined(separator: ", ")
  }

  /// Floating-point operations of the products inside the band: two forward, five backward.
  var forwardOperations: Double {
    2 * Double(visiblePairs * heads) * Double(keyDimension + valueDimension)
  }
  var backwardOperations: Double {
    2 * Double(visiblePairs * heads) * Double(3 * keyDimension + 2 * valueDimension)
  }
  /// The rows of a product's register tile.
  private static let registerRows = 8.0
  /// The fraction of the register tile that the queries of a head fill; the rest is idle.
  var filledRegisters: Double {
    min(Self.registerRows, max(1, Double(queryLength))) / Self.registerRows
  }
  /// Bytes of the bias converted to `dtype`; 0 if it has that dtype already, or there is none.
  func convertedBiasBytes(_ dtype: DType) -> Int {
    guard let bias, biasDType != dtype else { return 0 }
    return bias.elementCount * dtype.size
  }

  /// Bytes of inputs and outputs, each moved once.
  var tensorBytes: Double {
    let queries = batch * queryLength * heads * (keyDimension + valueDimension)
    let keys = batch * keyLength * keyValueHeads * (keyDimension + valueDimension)
    return Double((queries + keys) * dtype.size) * (needsGradient ? 3 : 1)
  }
}
