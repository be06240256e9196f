import AttentionTensors

/// A call of a gated scan without its numbers.
public struct GatedScanProblem: OperatorProblem {
  public var batch: Int
  /// Tokens per row of the batch.
  public var length: Int
  /// The number of states: the batch, or the number of packed sequences.
  public var sequences: Int
  public var isPacked: Bool
  public var channels: Int
  /// The dtype of inputs and output.
  public var dtype: DType
  /// The dtype in which kernels read the decay.
  public var decayDType: DType
  public var hasInitialState: Bool
  public var needsGradient: Bool
  /// The device of the tensors.
  public var device = Device.cpu

  public var hasWork: Bool { batch > 0 && length > 0 }
  /// The dtype of states.
  var stateDType: DType { dtype == .float64 ? .float64 : .float32 }

  /// Elements of a tensor with all tokens.
  var elements: Int { batch * length * channels }

  /// Bytes that a forward pass moves, or a forward and a backward pass if gradients are needed.
  var bytes: Double {
    let (x, g) = (dtype.size, decayDType.size)
    let perElement = needsGradient ? (2 * x + g) + (3 * x + 2 * g) : 2 * x + g
    return Double(elements) * Double(perElement)
  }
}

extension GatedScanProblem {
  public var description: String {
    var words = [
      "\(dtype.rawValue) inputs \(Shape([batch, length, channels]))",
      "\(decayDType.rawValue) decay",
    ]
    if isPacked { words.append("\(sequences) packed sequences") }
    if hasInitialState { words.append("an initial state") }
    if needsGradient { words.append("gradients") }
    if device != .cpu { words.append("on \(device)") }
    return words.joined(separator: ", ")
  }
}
