import AttentionTensors

/// The validated arguments of a short convolution in the form that its loops read.
struct ConvolutionCall: Sendable {
  /// [b, t, d], detached; the last axis is contiguous.
  let inputs: Tensor
  /// [W, d], contiguous, float32.
  let weight: Tensor
  /// [d], float32.
  let bias: Tensor?
  /// [n, W − 1, d] in float32, or float64 with float64 inputs; contiguous if there are tokens.
  let past: Tensor
  let appliesSiLU: Bool
  let sequences: TokenSequences

  /// The device of the tensors.
  var device: Device { inputs.device }
  var width: Int { weight.shape[0] }
  var channels: Int { inputs.shape[2] }
  var hasTokens: Bool { inputs.elementCount > 0 }

  /// The widths that the loops support.
  private static let widths = 2...4

  /// Checks the arguments of `shortConvolution`.
  ///
  /// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)``
  init(
    inputs: Tensor, weight: Tensor, bias: Tensor?, appliesSiLU: Bool, initialState: Tensor?,
    cumulativeLengths: Tensor?
  ) throws {
    try Check.tensor(inputs, "inputs", "[batch, length, channels]") {
      $0.rank == 3 && $0.shape[2] > 0
    }
    let (batch, length, channels) = (inputs.shape[0], inputs.shape[1], inputs.shape[2])
    let widths = Self.widths
    try Check.tensor(
      weight, "weight", "[\(channels), width from \(widths.lowerBound) to \(widths.upperBound)]"
    ) { $0.rank == 2 && $0.shape[0] == channels && widths.contains($0.shape[1]) }
    let width = weight.shape[1]
    sequences = try Check.sequences(cumulativeLengths, of: "inputs", batch: batch, length: length)
    try ProblemSize.check(
      inputs, "inputs", [max(batch, sequences.count), length, channels],
      "sequences, length and channels")
    let stateShape: Shape = [sequences.count, channels, width - 1]
    for (tensor, name, shape) in [
      (inputs, "inputs", inputs.shape), (weight, "weight", weight.shape),
      (bias, "bias", [channels]), (initialState, "initialState", stateShape),
    ] {
      guard let tensor else { continue }
      try Check.tensor(tensor, name, "\(shape)") { $0.shape == shape }
      try Check.dtype(of: tensor, name)
    }
    let device = try Check.device(
      of: inputs, "inputs",
      with: [(weight, "weight"), (bias, "bias"), (initialState, "initialState")])
    self.inputs = try inputs.detached().withDenseRows()
    self.weight = try weight.detached().cast(to: .float32).transposed().contiguous()
    self.bias = try bias?.detached().cast(to: .float32).contiguous()
    self.appliesSiLU = appliesSiLU
    let stateDType: DType = inputs.dtype == .float64 ? .float64 : .float32
    let state =
      try initialState?.detached().cast(to: stateDType)
      ?? .zeros(stateShape, dtype: stateDType, device: device)
    past = try inputs.elementCount > 0 ? state.transposed().contiguous() : state.transposed()
  }

  /// The convolution by elementary operations, with gradients from the tape: for float64, and as the
  /// reference.
  func definition(
    inputs: Tensor, weight: Tensor, bias: Tensor?, initialState: Tensor?
  ) throws -> ShortConvolutionResult {
    let weight = try weight.cast(to: .float64)
    let rows = try initialState?.cast(to: .float64).transposed() ?? past.cast(to: .float64)
    var outputs: [[Tensor]] = [[Tensor]](repeating: [], count: inputs.shape[0])
    var states: [Tensor] = []
    for (number, sequence) in sequences.enumerated() {
      let own = try inputs.sliced(0, sequence.row..<sequence.row + 1).sliced(1, sequence.tokens)
      let whole = try Tensor.concatenated([rows.sliced(0, number..<number + 1), own], 1)
      let count = sequence.tokens.count
      var sum =
        try bias?.cast(to: .float64).expanded(to: own.shape)
        ?? .zeros(own.shape, dtype: .float64, device: device)
      for j in 0..<width {
        sum = try sum + whole.sliced(1, j..<j + count) * weight.selected(1, j)
      }
      outputs[sequence.row].append(appliesSiLU ? try sum.silu() : sum)
      states.append(try whole.sliced(1, count..<count + width - 1).transposed())
    }
    guard !states.isEmpty else {
      let state = try rows.transposed()
      return ShortConvolutionResult(output: inputs, finalState: state)
    }
    let joined = try outputs.map { try Tensor.concatenated($0, 1) }
    return ShortConvolutionResult(
      output: try .concatenated(joined, 0), finalState: try .concatenated(states, 0))
  }
}
