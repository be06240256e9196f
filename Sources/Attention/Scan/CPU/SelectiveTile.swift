import AttentionCLibrary
import AttentionCPUKernels
import AttentionTensors

/// The working memory of one tile of channels, and the passes over a piece of its tokens. States and arrays
/// of their size are [s, channels].
struct SelectiveTile {
  let channels: Range<Int>
  /// The states, and the gradients of states and of the state matrix.
  let states, stateGradient, matrixGradient: UnsafeMutablePointer<Float>
  private let reader: SelectiveReader
  private let kernels: cpu_kernels
  private let scratch: Scratch
  /// A / ln 2
  private let matrix: UnsafeMutablePointer<Float>
  /// [channels] each: gradients of the skip and of the step's bias.
  private let skipGradient, biasGradient: UnsafeMutablePointer<Float>
  /// [tile tokens, channels] each.
  private let inputs, rawStep, step, incoming: UnsafeMutablePointer<Float>
  private let output, stepGradient: UnsafeMutablePointer<Float>
  /// [tile tokens + 1, s, channels]
  private let history: UnsafeMutablePointer<Float>

  private var width: Int { channels.count }
  private var stateCount: Int { reader.call.problem.states }

  /// Floats of one tile.
  static func floats(_ problem: SelectiveScanProblem) -> Int {
    let (tokens, width) = (SelectiveTiles.tileTokens, SelectiveTiles.tileChannels)
    let history = problem.needsGradient ? tokens + 1 : 0
    return width * ((4 + history) * problem.states + 6 * tokens + 2)
  }

  init(_ reader: SelectiveReader, _ channels: Range<Int>) throws {
    self.reader = reader
    self.channels = channels
    kernels = reader.kernels
    let problem = reader.call.problem
    scratch = try Scratch(floats: Self.floats(problem))
    let perState = SelectiveTiles.tileChannels * problem.states
    let perToken = SelectiveTiles.tileChannels * SelectiveTiles.tileTokens
    states = scratch.base
    stateGradient = states + perState
    matrixGradient = stateGradient + perState
    matrix = matrixGradient + perState
    inputs = matrix + perState
    rawStep = inputs + perToken
    step = rawStep + perToken
    incoming = step + perToken
    output = incoming + perToken
    stepGradient = output + perToken
    skipGradient = stepGradient + perToken
    biasGradient = skipGradient + SelectiveTiles.tileChannels
    history = biasGradient + SelectiveTiles.tileChannels
  }

  /// Loads A of the channels, converted to base 2.
  func loadMatrix() {
    kernels.transpose(
      width, stateCount, reader.stateMatrix + channels.lowerBound * stateCount, stateCount, matrix,
      width)
    kernels.scale(width * stateCount, Float(M_LOG2E), matrix)
    // An infinite rate times a step or a gradient of 0 would be NaN.
    let lowest = -Float.greatestFiniteMagnitude
    for index in 0..<width * stateCount where matrix[index] < lowest { matrix[index] = lowest }
  }

  /// Loads the channels of sequence `number` of `tensor` [n, d, s], or zeros.
  func load(_ tensor: Tensor?, _ number: Int, to target: UnsafeMutablePointer<Float>) throws {
    guard let tensor else {
      return target.update(repeating: 0, count: width * stateCount)
    }
    try tensor.withUnsafeRawPointer {
      kernels.transpose(
        width, stateCount, $0.assumingMemoryBound(to: Float.self) + place(number), stateCount,
        target, width)
    }
  }

  /// Stores `source` in an array [n, d, s].
  func store(
    _ source: UnsafePointer<Float>, _ number: Int, to target: UnsafeMutablePointer<Float>
  ) {
    kernels.transpose(stateCount, width, source, width, target + place(number), stateCount)
  }

  private func place(_ number: Int) -> Int {
    (number * reader.call.problem.channels + channels.lowerBound) * stateCount
  }

  func save(_ source: UnsafePointer<Float>, to checkpoint: UnsafeMutablePointer<Float>) {
    checkpoint.update(from: source, count: width * stateCount)
  }

  func restore(_ checkpoint: UnsafePointer<Float>) {
    states.update(from: checkpoint, count: width * stateCount)
  }

  func clearSums() {
    matrixGradient.update(repeating: 0, count: width * stateCount)
    skipGradient.update(repeating: 0, count: width)
    biasGradient.update(repeating: 0, count: width)
  }

  func storeSums(skip: UnsafeMutablePointer<Float>, bias: UnsafeMutablePointer<Float>) {
    skip.update(from: skipGradient, count: width)
    bias.update(from: biasGradient, count: width)
  }

  /// The operands of a piece of tokens.
  private struct Piece {
    let inputs, rawStep, step: (base: UnsafePointer<Float>, stride: Int)
    let inputMatrix, outputMatrix: UnsafePointer<Float>
    let skip: UnsafePointer<Float>?
  }

  private func load(_ row: Int, _ tokens: Range<Int>) -> Piece {
    let raw = reader.load(reader.step, row, tokens, channels, rawStep)
    let matrices = (row * reader.call.problem.length + tokens.lowerBound) * stateCount
    return Piece(
      inputs: reader.load(reader.inputs, row, tokens, channels, inputs), rawStep: raw,
      step: reader.makeStep(raw, tokens.count, channels, step),
      inputMatrix: reader.inputMatrix + matrices, outputMatrix: reader.outputMatrix + matrices,
      skip: reader.skip.map { $0 + channels.lowerBound })
  }

  /// Asks for what a pass over `tokens`, which come next, reads and writes.
  func prefetch(
    _ row: Int, _ tokens: Range<Int>?, reading: [ScanRows] = [], writing: [ScanRows]
  ) {
    guard let tokens else { return }
    reader.prefetch(row, tokens, channels, reading: reading, writing: writing)
  }

  /// Advances the states over `tokens`, at most a piece, and writes the outputs.
  func forward(_ row: Int, _ tokens: Range<Int>, to target: ScanRows) {
    scan(load(row, tokens), tokens.count, history: nil, output: output)
    reader.store(output, row, tokens, channels, to: target)
  }

  private func scan(
    _ piece: Piece, _ count: Int, history: UnsafeMutablePointer<Float>?,
    output: UnsafeMutablePointer<Float>?
  ) {
    kernels.selective_scan(
      count, width, stateCount, piece.inputs.base, piece.inputs.stride, piece.step.base,
      piece.step.stride, matrix, piece.inputMatrix, stateCount, piece.outputMatrix, stateCount,
      piece.skip,
      states, history, output, width)
  }

  /// Computes the gradients of `tokens`, at most a piece, from the states before them.
  ///
  /// - Parameters:
  ///   - dy: the gradient of the output; nil is zero.
  ///   - db, dc: accumulate sums over channels, from the first of the tokens on.
  func backward(
    _ row: Int, _ tokens: Range<Int>, _ dy: ScanRows?, _ db: UnsafeMutablePointer<Float>,
    _ dc: UnsafeMutablePointer<Float>, to dx: ScanRows, _ dstep: ScanRows
  ) {
    let piece = load(row, tokens)
    scan(piece, tokens.count, history: history, output: nil)
    var received: (base: UnsafePointer<Float>, stride: Int) = (UnsafePointer(incoming), width)
    if let dy {
      received = reader.load(dy, row, tokens, channels, incoming)
    } else {
      incoming.update(repeating: 0, count: tokens.count * width)
    }
    kernels.selective_scan_backward(
      tokens.count, width, stateCount, piece.inputs.base, piece.inputs.stride, piece.step.base,
      piece.step.stride, matrix, piece.inputMatrix, stateCount, piece.outputMatrix, stateCount,
      piece.skip,
      history, received.base, received.stride, stateGradient, output, stepGradient,
      matrixGradient, db, dc, piece.skip == nil ? nil : skipGradient)
    if reader.call.problem.appliesSoftplus {
      kernels.softplus_backward(
        tokens.count, width, piece.rawStep.base, piece.rawStep.stride,
        reader.stepBias.map { $0 + channels.lowerBound }, stepGradient)
    }
    for index in 0..<tokens.count {
      kernels.axpy(width, 1, stepGradient + index * width, biasGradient)
    }
    reader.store(output, row, tokens, channels, to: dx)
    reader.store(stepGradient, row, tokens, channels, to: dstep)
  }
}
