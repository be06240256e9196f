import AttentionCPUKernels
import AttentionTensors

extension ConvolutionCall {
  /// Tokens and channels of a piece in the forward pass.
  private static let pieceTokens = 256
  private static let pieceChannels = 1024
  /// Channels of a piece in the backward pass, which processes all tokens of a sequence in order.
  private static let gradientChannels = 256

  /// Loads the float32 rows before `token`: rows of x, and before them those of the state.
  private func loadPast(
    _ kernels: cpu_kernels, _ x: ScanRows, _ number: Int, before token: Int,
    _ channels: Range<Int>, to target: UnsafeMutablePointer<Float>
  ) throws {
    let sequence = sequences[number]
    for row in 0..<width - 1 {
      let from = token - (width - 1) + row
      let place = target + row * channels.count
      if from >= sequence.tokens.lowerBound {
        kernels.widen(
          x.type, channels.count, x.at(sequence.row, from, channels.lowerBound), place)
      } else {
        let kept = from - sequence.tokens.lowerBound + width - 1
        try past.withUnsafePointer(to: Float.self) {
          let first = (number * (width - 1) + kept) * self.channels + channels.lowerBound
          place.update(from: $0 + first, count: channels.count)
        }
      }
    }
  }

  /// Loads the weights [W, channels] and the bias [channels] of some channels.
  private func loadWeights(
    _ channels: Range<Int>, to target: UnsafeMutablePointer<Float>
  ) throws -> (weight: UnsafePointer<Float>, bias: UnsafePointer<Float>?) {
    try weight.withUnsafePointer(to: Float.self) { weight in
      for row in 0..<width {
        (target + row * channels.count).update(
          from: weight + row * self.channels + channels.lowerBound, count: channels.count)
      }
    }
    let place = target + width * channels.count
    try bias?.withUnsafePointer(to: Float.self) {
      place.update(from: $0 + channels.lowerBound, count: channels.count)
    }
    return (UnsafePointer(target), bias == nil ? nil : UnsafePointer(place))
  }

  /// A piece of the tokens of a sequence.
  private struct Piece {
    let number: Int
    let tokens: Range<Int>
  }

  private var pieces: [Piece] {
    sequences.enumerated().flatMap { number, sequence in
      stride(
        from: sequence.tokens.lowerBound, to: sequence.tokens.upperBound, by: Self.pieceTokens
      ).map {
        Piece(
          number: number, tokens: $0..<min($0 + Self.pieceTokens, sequence.tokens.upperBound))
      }
    }
  }

  func forward() throws -> ShortConvolutionResult {
    guard hasTokens else {
      return ShortConvolutionResult(output: inputs, finalState: try past.transposed())
    }
    let kernels = InstructionSet.current.kernels
    let x = try ScanRows(reading: inputs)
    let pieces = pieces
    let strips = Strips(channels, width: Self.pieceChannels)
    let stateShape: Shape = [sequences.count, width - 1, channels]
    let tensors = try Tensor.filling([
      (shape: inputs.shape, dtype: inputs.dtype), (shape: stateShape, dtype: .float32),
    ]) { pointers in
      let y = try ScanRows(writing: pointers[0], inputs.shape, inputs.dtype)
      let states = pointers[1].assumingMemoryBound(to: Float.self)
      try Threads.tryForEach(pieces.count * strips.count) { index in
        let (piece, channels) = (pieces[index / strips.count], strips[index % strips.count])
        let row = sequences[piece.number].row
        let scratch = try Scratch(floats: 2 * width * channels.count)
        let (weight, bias) = try loadWeights(
          channels, to: scratch.base + (width - 1) * channels.count)
        let first = piece.tokens.lowerBound
        try loadPast(kernels, x, piece.number, before: first, channels, to: scratch.base)
        kernels.short_convolution(
          x.type, width, appliesSiLU ? 1 : 0, piece.tokens.count, channels.count,
          x.at(row, first, channels.lowerBound), x.stride, scratch.base, weight, bias,
          y.at(row, first, channels.lowerBound), y.stride)
      }
      for (number, sequence) in sequences.enumerated() {
        try loadPast(
          kernels, x, number, before: sequence.tokens.upperBound, 0..<channels,
          to: states + number * (width - 1) * channels)
      }
    }
    return ShortConvolutionResult(
      output: tensors[0], finalState: try tensors[1].transposed().contiguous())
  }

  /// The gradients of inputs, weight, bias and initial state.
  func backward(_ outputGradient: Tensor?, _ finalStateGradient: Tensor?) throws -> [Tensor] {
    guard hasTokens else {
      func zeros(_ shape: Shape) throws -> Tensor { try .zeros(shape, device: device) }
      return [
        try zeros(inputs.shape), try zeros([channels, width]), try zeros([channels]),
        try finalStateGradient ?? zeros(past.transposed().shape),
      ]
    }
    let kernels = InstructionSet.current.kernels
    let x = try ScanRows(reading: inputs)
    let zeros = try Tensor.zeros([channels], dtype: inputs.dtype).contiguous()
    let dy = try ScanRows(
      reading: outputGradient?.withDenseRows() ?? zeros.expanded(to: inputs.shape))
    let rows = width - 1
    let last = try (finalStateGradient ?? .zeros([sequences.count, channels, rows]))
      .transposed().contiguous()
    let strips = Strips(channels, width: Self.gradientChannels)
    let (n, d) = (sequences.count, channels)
    let tensors = try Tensor.filling([
      (shape: inputs.shape, dtype: inputs.dtype), (shape: [n, width, d], dtype: .float32),
      (shape: [n, d], dtype: .float32), (shape: [n, rows, d], dtype: .float32),
    ]) { pointers in
      let dx = try ScanRows(writing: pointers[0], inputs.shape, inputs.dtype)
      let floats = pointers[1...].map { $0.assumingMemoryBound(to: Float.self) }
      try Threads.tryForEach(n * strips.count) { index in
        let (number, channels) = (index / strips.count, strips[index % strips.count])
        let (sequence, count) = (sequences[number], channels.count)
        let scratch = try Scratch(floats: (6 * width + 2) * count)
        let before = scratch.base
        let (ring, received) = (before + rows * count, before + (rows + width) * count)
        let handedOn = received + rows * count
        let sums = handedOn + rows * count
        let (weight, bias) = try loadWeights(channels, to: sums + (width + 1) * count)
        sums.update(repeating: 0, count: (width + 1) * count)
        let first = sequence.tokens.lowerBound
        try loadPast(kernels, x, number, before: first, channels, to: before)
        try last.withUnsafePointer(to: Float.self) {
          Self.copy(rows, count, $0 + number * rows * d + channels.lowerBound, d, received, count)
        }
        kernels.short_convolution_backward(
          x.type, width, appliesSiLU ? 1 : 0, sequence.tokens.count, count,
          x.at(sequence.row, first, channels.lowerBound), x.stride, before, weight, bias,
          dy.at(sequence.row, first, channels.lowerBound), dy.stride, received, ring,
          dx.at(sequence.row, first, channels.lowerBound), dx.stride, handedOn, sums,
          bias == nil ? nil : sums + width * count)
        let place = channels.lowerBound
        Self.copy(width, count, sums, count, floats[0] + number * width * d + place, d)
        Self.copy(1, count, sums + width * count, count, floats[1] + number * d + place, d)
        Self.copy(rows, count, handedOn, count, floats[2] + number * rows * d + place, d)
      }
    }
    return [
      tensors[0], try tensors[1].sum([0]).transposed(), try tensors[2].sum([0]),
      try tensors[3].transposed(),
    ]
  }

  /// Copies rows of `count` elements between arrays with different strides.
  private static func copy(
    _ rows: Int, _ count: Int, _ source: UnsafePointer<Float>, _ sourceStride: Int,
    _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
  ) {
    for row in 0..<rows {
      (target + row * targetStride).update(from: source + row * sourceStride, count: count)
    }
  }
}
