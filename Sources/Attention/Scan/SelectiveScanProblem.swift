import AttentionTensors

/// What is asked of a selective scan, without the numbers.
public struct SelectiveScanProblem: OperatorProblem {
  public var batch: Int
  /// Tokens a row of the batch.
  public var length: Int
  /// How many vectors of states there are: the batch, or the number of packed sequences.
  public var sequences: Int
  public var isPacked: Bool
  public var channels: Int
  /// States a channel.
  public var states: Int
  /// Of inputs and output.
  public var dtype: DType
  public var hasSkip: Bool
  public var hasStepBias: Bool
  public var appliesSoftplus: Bool
  public var hasInitialState: Bool
  public var needsGradient: Bool
  /// Where the tensors are.
  public var device = Device.cpu

  public var hasWork: Bool { batch > 0 && length > 0 }
  /// The dtype of states.
  var stateDType: DType { dtype == .float64 ? .float64 : .float32 }

  /// Exponentials that the recurrence takes.
  var exponentials: Double { Double(batch * length) * Double(channels * states) }

  /// What the C loops take: whether the output, and the gradients like it, go past the caches.
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
      "\(dtype.rawValue) inputs \(Shape([batch, length, channels]))", "\(states) states a channel",
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
