import AttentionTensors

/// A call of a selective scan without its numbers.
public struct SelectiveScanProblem: OperatorProblem {
  public var batch: Int
  /// Tokens per row of the batch.
  public var length: Int
  /// The number of vectors of states: the batch, or the number of packed sequences.
  public var sequences: Int
  public var isPacked: Bool
  public var channels: Int
  /// States per channel.
  public var states: Int
  /// The dtype of inputs and output.
  public var dtype: DType
  public var hasSkip: Bool
  public var hasStepBias: Bool
  public var appliesSoftplus: Bool
  public var hasInitialState: Bool
  public var needsGradient: Bool
  /// The device of the tensors.
  public var device = Device.cpu

  public var hasWork: Bool { batch > 0 && length > 0 }
  /// The dtype of states.
  var stateDType: DType { dtype == .float64 ? .float64 : .float32 }

  /// The number of exponentials of the recurrence.
  var exponentials: Double { Double(batch * length) * Double(channels * states) }

  /// The flag of the C loops: whether the output, and gradients of its size, use non-temporal stores.
  var writesPastCaches: Int32 { PastCaches.flag(bytes: batch * length * channels * dtype.size) }

  /// Bytes of inputs, step, matrices and output, each moved once, and of the states.
  var bytes: Double {
    let perToken = 3 * channels * dtype.size + 2 * states * MemoryLayout<Float>.size
    let passes = needsGradient ? 3.0 : 1
    return Double(batch * length) * Double(perToken) * passes
      + Double(2 * sequences) * Double(channels * states * MemoryLayout<Float>.size)
  }
}

extension SelectiveScanProblem {
  public var description: String {
    var words = [
      "\(dtype.rawValue) inputs \(Shape([batch, length, channels]))",
      "\(states) states per channel",
    ]
    if hasSkip { words.append("a skip") }
    if appliesSoftplus { words.append("softplus of the step") }
    if hasStepBias { words.append("a bias of the step") }
    if isPacked { words.append("\(sequences) packed sequences") }
    if hasInitialState { words.append("an initial state") }
    if needsGradient { words.append("gradients") }
    if device != .cpu { words.append("on \(device)") }
    return words.joined(separator: ", ")
  }
}
