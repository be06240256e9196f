import AttentionCPUKernels
import AttentionTensors

/// The operands of a backward pass of a gated scan.
struct ScanBackward: Sendable {
  /// The memory that receives the gradients.
  struct Targets {
    let inputs: ScanRows
    let decay: ScanRows
  }

  let kernels: cpu_kernels
  let decay: ScanRows
  let incoming: ScanRows
  private let call: GatedScanArguments
  private let output: ScanRows
  /// [n, d]
  private let initialStates: Scratch

  init(_ call: GatedScanArguments, _ outputs: GatedScanOutputs, _ outputGradient: Tensor?) throws {
    self.call = call
    kernels = InstructionSet.current.kernels
    decay = try ScanRows(reading: call.decay)
    output = try ScanRows(reading: outputs.output.withDenseRows())
    incoming = try ScanRows(reading: (outputGradient ?? call.zeroRows()).withDenseRows())
    initialStates = try Scratch(floats: call.stateShape.elementCount)
    try call.copy(call.initialState, to: initialStates.base)
  }

  /// The state [d] before the first token of a sequence.
  func initialState(of sequence: Int) -> UnsafePointer<Float> {
    UnsafePointer(initialStates.base + sequence * call.problem.channels)
  }

  /// Reads the state after `token`, as rounded to the output's dtype.
  func state(_ row: Int, _ token: Int, to target: UnsafeMutablePointer<Float>) {
    kernels.widen(output.type, call.problem.channels, output.at(row, token, 0), target)
  }

  /// Allocates the gradients: `body` writes those of inputs and decay, and replaces the gradients [n, d] of
  /// the final states by those of the initial states.
  func run(
    _ finalStateGradient: Tensor?,
    _ body: (Targets, UnsafeMutablePointer<Float>) throws -> Void
  ) throws -> GatedScanGradients {
    let (shape, problem) = (call.inputs.shape, call.problem)
    let tensors = try Tensor.filling([
      (shape: shape, dtype: problem.dtype), (shape: shape, dtype: problem.decayDType),
      (shape: call.stateShape, dtype: .float32),
    ]) { pointers in
      let states = pointers[2].assumingMemoryBound(to: Float.self)
      try call.copy(finalStateGradient, to: states)
      try body(
        Targets(
          inputs: ScanRows(writing: pointers[0], shape, problem.dtype),
          decay: ScanRows(writing: pointers[1], shape, problem.decayDType)), states)
    }
    return [.inputs: tensors[0], .decay: tensors[1], .initialState: tensors[2]]
  }

  /// Computes the gradients of `tokens`, from the last to the first.
  ///
  /// - Parameters:
  ///   - first: the states [d] before the tokens.
  ///   - gradient: `[d]`: the gradient of the states after the tokens, replaced by that of the states before.
  func run(
    _ row: Int, _ tokens: Range<Int>, _ channels: Range<Int>, first: UnsafePointer<Float>,
    gradient: UnsafeMutablePointer<Float>, to targets: Targets
  ) {
    let (token, channel) = (tokens.lowerBound, channels.lowerBound)
    kernels.scan_backward(
      incoming.type, decay.type, call.writesPastCaches(call.problem.dtype, call.problem.decayDType),
      tokens.count, channels.count,
      decay.at(row, token, channel), decay.stride, output.at(row, token, channel), output.stride,
      first + channel, incoming.at(row, token, channel), incoming.stride, gradient + channel,
      targets.inputs.at(row, token, channel), targets.decay.at(row, token, channel),
      targets.inputs.stride)
  }
}
