import AttentionCUDA
import AttentionCUDAKernels
import AttentionTensors

/// The selective scan on an NVIDIA GPU: a block processes 8 channels of a sequence, with 16 lanes sharing the
/// states of a channel. The states before every 16 tokens are kept for the gradients.
struct DeviceSelectiveScan: SelectiveScanKernel {
  let name = "cuda.selective"

  /// The most blocks that share the channels of a sequence in the backward pass; each has a slot for the
  /// gradients of all tokens' B and C.
  private static let mostSlots = 64
  private static let operations = 40.0
  private static let efficiency = 0.005
  /// The seconds that a block takes per token, excluding memory traffic.
  private static let tokenLatency = 2e-7

  func objection(to device: Device) -> Objection? { .unlessGPU(device) }

  func objection(to problem: SelectiveScanProblem) -> Objection? {
    if problem.dtype == .float64 {
      return Objection("needs float32, bfloat16 or float16 inputs, was float64")
    }
    if let objection = Objection.beyondGrid(
      tokens: problem.batch * problem.length,
      blocks: problem.sequences * problem.channels.pieces(of: selective_channels))
    {
      return objection
    }
    guard case .cuda(let index) = problem.device, let device = try? CUDADevice.at(index) else {
      return nil
    }
    let needed =
      problem.needsGradient
      ? Self.backwardBytes(problem.states) : Self.forwardBytes(problem.states)
    let room = device.limits.sharedBytesPerBlock
    return needed > room
      ? Objection(
        "\(problem.states) states per channel need \(needed) bytes of shared memory; "
          + "\(device.limits.name) has \(room)") : nil
  }

  /// The shared memory of a block.
  private static func forwardBytes(_ states: Int) -> Int {
    selective_layout(selective_padded_states(states)).forward_end * float_bytes
  }

  private static func backwardBytes(_ states: Int) -> Int {
    selective_layout(selective_padded_states(states)).backward_end * float_bytes
  }

  func cost(of problem: SelectiveScanProblem) -> Cost {
    let passes = problem.needsGradient ? 4.0 : 1
    return Cost(
      operations: problem.exponentials * Self.operations * passes, bytes: problem.bytes,
      extraMemory: problem.needsGradient
        ? problem.batch * problem.length * problem.states
          * (problem.channels / selective_tile_tokens + 2 * Self.mostSlots)
          * MemoryLayout<Float>.size : 0,
      efficiency: Self.efficiency,
      overhead: Double(max(1, problem.length)) * passes * Self.tokenLatency,
      pieces: problem.sequences * problem.channels.pieces(of: selective_channels))
  }

  func forward(_ call: SelectiveScanArguments) throws -> SelectiveScanOutputs {
    let problem = call.problem
    let queue = try DeviceQueue.shared(for: call.device)
    let sequences = try DeviceSequences(call.sequences, chunk: selective_tile_tokens, queue)
    func fresh(_ shape: Shape, _ dtype: DType = .float32) throws -> Tensor {
      try .onDevice(shape, dtype: dtype, device: call.device)
    }
    let states =
      problem.needsGradient
      ? try fresh([sequences.chunks, problem.channels, problem.states]) : nil
    let outputs = SelectiveScanOutputs(
      output: try fresh(call.inputs.shape, problem.dtype),
      finalState: try fresh(call.stateShape), checkpoints: states)
    let blocks = problem.channels.pieces(of: selective_channels)
    try launch(
      "scan/selective", blocks * call.sequences.count,
      sharedBytes: Self.forwardBytes(problem.states), queue
    ) {
      ScanSelectiveParameters(
        operands: try ScanSelectiveOperands(call, sequences, blocks: blocks),
        output: try LinearRows(outputs.output),
        final_state: try outputs.finalState.deviceAddress(),
        states: try Tensor.deviceAddress(states))
    }
    return withExtendedLifetime(sequences) { outputs }
  }

  func backward(
    _ call: SelectiveScanArguments, _ outputs: SelectiveScanOutputs,
    _ incoming: SelectiveScanOutputs
  ) throws -> SelectiveScanGradients {
    let (outputGradient, finalStateGradient) = (incoming[.output], incoming[.finalState])
    let problem = call.problem
    let queue = try DeviceQueue.shared(for: call.device)
    guard let states = outputs[.checkpoints] else {
      throw AttentionError.kernelObjects(
        name, Objection("the forward pass kept no states for gradients"))
    }
    let sequences = try DeviceSequences(call.sequences, chunk: selective_tile_tokens, queue)
    let slots = min(Self.mostSlots, problem.channels.pieces(of: selective_channels))
    let (b, t, d, s) = (problem.batch, problem.length, problem.channels, problem.states)
    let n = problem.sequences
    let incoming = try outputGradient?.withDenseRows()
    let finalState = try finalStateGradient?.contiguous()
    func fresh(_ shape: Shape, _ dtype: DType = .float32) throws -> Tensor {
      try .onDevice(shape, dtype: dtype, device: call.device)
    }
    let inputs = try fresh(call.inputs.shape, problem.dtype)
    let step = try fresh(call.inputs.shape, call.step.dtype)
    let stateMatrix = try fresh([n, d, s])
    let matrices = try (fresh([slots, b, t, s]), fresh([slots, b, t, s]))
    let vectors = try (fresh([n, d]), fresh([n, d]))
    let initialState = try fresh(call.stateShape)
    try launch(
      "scan/selective_backward", slots * call.sequences.count,
      sharedBytes: Self.backwardBytes(s), queue
    ) {
      ScanSelectiveBackwardParameters(
        operands: try ScanSelectiveOperands(call, sequences, blocks: slots),
        output_gradient: try LinearRows(incoming),
        final_state_gradient: try Tensor.deviceAddress(finalState),
        states: try states.deviceAddress(), inputs: try LinearRows(inputs),
        step: try LinearRows(step), state_matrix: try stateMatrix.deviceAddress(),
        input_matrix: try matrices.0.deviceAddress(), output_matrix: try matrices.1.deviceAddress(),
        skip: try vectors.0.deviceAddress(), step_bias: try vectors.1.deviceAddress(),
        initial_state: try initialState.deviceAddress(), tokens: Int64(b * t))
    }
    func sum(_ slots: Tensor, _ shape: Shape) throws -> Tensor {
      try SlotSum(slots: slots).run(shape, .float32, queue)
    }
    defer { withExtendedLifetime((incoming, finalState, sequences, states)) {} }
    return [
      .inputs: inputs, .step: step, .stateMatrix: try sum(stateMatrix, [1, d, s]).squeezed(0),
      .inputMatrix: try sum(matrices.0, [b, t, s]), .outputMatrix: try sum(matrices.1, [b, t, s]),
      .skip: try sum(vectors.0, [1, 1, d]).reshaped([d]),
      .stepBias: try sum(vectors.1, [1, 1, d]).reshaped([d]), .initialState: initialState,
    ]
  }

  private func launch(
    _ kernel: String, _ blocks: Int, sharedBytes: Int, _ queue: DeviceQueue,
    _ parameters: () throws -> some BitwiseCopyable
  ) throws {
    guard blocks > 0 else { return }
    try queue.launch(
      kernel, blocks: blocks, threads: selective_threads, sharedBytes: sharedBytes, parameters())
  }
}

extension ScanSelectiveOperands {
  init(_ call: SelectiveScanArguments, _ sequences: DeviceSequences, blocks: Int) throws {
    self.init(
      inputs: try LinearRows(call.inputs), step: try LinearRows(call.step),
      state_matrix: try call.stateMatrix.deviceAddress(),
      input_matrix: try call.inputMatrix.deviceAddress(),
      output_matrix: try call.outputMatrix.deviceAddress(),
      skip: try Tensor.deviceAddress(call.skip), step_bias: try Tensor.deviceAddress(call.stepBias),
      initial_state: try Tensor.deviceAddress(call.initialState), sequences: sequences.address,
      length: Int64(call.problem.length), channels: Int32(call.problem.channels),
      states: Int32(call.problem.states),
      applies_softplus: call.problem.appliesSoftplus ? 1 : 0, blocks: Int32(blocks))
  }
}
