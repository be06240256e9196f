import AttentionTensors

/// What is asked of a gated scan, without the numbers.
public struct GatedScanProblem: OperatorProblem {
  public var batch: Int
  /// Tokens a row of the batch.
  public var length: Int
  /// How many states there are: the batch, or the number of packed sequences.
  public var sequences: Int
  public var isPacked: Bool
  public var channels: Int
  /// Of inputs and output.
  public var dtype: DType
  /// In which kernels read the decay.
  public var decayDType: DType
  public var hasInitialState: Bool
  public var needsGradient: Bool
  /// Where the tensors are.
  public var device = Device.cpu

  public var hasWork: Bool { batch > 0 && length > 0 }
  /// The dtype of states.
  var stateDType: DType { dtype == .float64 ? .float64 : .float32 }

  /// Numbers a tensor of all tokens has.
  var elements: Int { batch * length * channels }

  /// Bytes that a single pass forward moves, or one forward and one backward.
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
