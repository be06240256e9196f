import AttentionCUDA
import AttentionCUDAKernels
import AttentionTensors

/// The gated scan on an NVIDIA GPU: a block processes 32 channels of a sequence in tiles of tokens, which its
/// warps share.
struct DeviceScan: GatedScanKernel {
  let name = "cuda.scan"

  private static let operations = 40.0
  private static let efficiency = 0.005
  /// The seconds that a block takes per tile, excluding memory traffic.
  private static let tileLatency = 3e-6

  func objection(to device: Device) -> Objection? { .unlessGPU(device) }

  func objection(to problem: GatedScanProblem) -> Objection? {
    if problem.dtype == .float64 {
      return Objection("needs float32, bfloat16 or float16 inputs, was float64")
    }
    return .beyondGrid(
      tokens: problem.batch * problem.length,
      blocks: problem.sequences * problem.channels.pieces(of: scan_channels))
  }

  func cost(of problem: GatedScanProblem) -> Cost {
    let passes = problem.needsGradient ? 2.0 : 1
    return Cost(
      operations: Double(problem.elements) * Self.operations * passes, bytes: problem.bytes,
      extraMemory: 0, efficiency: Self.efficiency,
      overhead: Double(max(1, problem.length.pieces(of: scan_tile_tokens))) * passes
        * Self.tileLatency,
      pieces: problem.sequences * problem.channels.pieces(of: scan_channels))
  }

  func forward(_ call: GatedScanArguments) throws -> GatedScanOutputs {
    let queue = try DeviceQueue.shared(for: call.device)
    let output = try Tensor.onDevice(
      call.inputs.shape, dtype: call.problem.dtype, device: call.device)
    let finalState = try Tensor.onDevice(call.stateShape, dtype: .float32, device: call.device)
    try launch("scan/gated", call, queue) { sequences, channels, strips in
      ScanGatedParameters(
        inputs: try LinearRows(call.inputs), decay: try LinearRows(call.decay),
        output: try LinearRows(output),
        initial_state: try Tensor.deviceAddress(call.initialState),
        final_state: try finalState.deviceAddress(), sequences: sequences.address,
        channels: channels, strips: strips)
    }
    return GatedScanOutputs(output: output, finalState: finalState)
  }

  func backward(
    _ call: GatedScanArguments, _ outputs: GatedScanOutputs, _ incoming: GatedScanOutputs
  ) throws -> GatedScanGradients {
    let (outputGradient, finalStateGradient) = (incoming[.output], incoming[.finalState])
    let queue = try DeviceQueue.shared(for: call.device)
    let incoming = try outputGradient?.withDenseRows()
    let finalState = try finalStateGradient?.contiguous()
    func fresh(_ shape: Shape, _ dtype: DType) throws -> Tensor {
      try .onDevice(shape, dtype: dtype, device: call.device)
    }
    let inputs = try fresh(call.inputs.shape, call.problem.dtype)
    let decay = try fresh(call.inputs.shape, call.problem.decayDType)
    let initialState = try fresh(call.stateShape, .float32)
    let output = try outputs.output.withDenseRows()
    try launch("scan/gated_backward", call, queue) { sequences, channels, strips in
      ScanGatedBackwardParameters(
        decay: try LinearRows(call.decay),
        output: try LinearRows(output),
        output_gradient: try LinearRows(incoming),
        inputs_gradient: try LinearRows(inputs),
        decay_gradient: try LinearRows(decay),
        initial_state: try Tensor.deviceAddress(call.initialState),
        final_state_gradient: try Tensor.deviceAddress(finalState),
        initial_state_gradient: try initialState.deviceAddress(),
        sequences: sequences.address, channels: channels, strips: strips)
    }
    return withExtendedLifetime((incoming, finalState, output)) {
      [.inputs: inputs, .decay: decay, .initialState: initialState]
    }
  }

  private func launch(
    _ kernel: String, _ call: GatedScanArguments, _ queue: DeviceQueue,
    _ parameters: (DeviceSequences, _ channels: Int32, _ strips: Int32) throws ->
      some BitwiseCopyable
  ) throws {
    let channels = call.problem.channels
    let strips = channels.pieces(of: scan_channels)
    guard call.sequences.count > 0 else { return }
    let sequences = try DeviceSequences(call.sequences, chunk: scan_tile_tokens, queue)
    try withExtendedLifetime(sequences) {
      try queue.launch(
        kernel, blocks: call.sequences.count * strips,
        threads: scan_warps * warp_threads, sharedBytes: scan_shared_floats * float_bytes,
        parameters(sequences, Int32(channels), Int32(strips)))
    }
  }
}

extension CheckedKernel {
  /// Kernels of scans and the short convolution.
  package static let scan =
    ["gated", "gated_backward", "selective", "convolution", "convolution_backward"].flatMap {
      each("scan/\($0).cu", on: [90])
    } + each("scan/selective_backward.cu", on: [80])
}
