import AttentionCLibrary
import AttentionTensors

/// The definition of the gated scan, computed channel by channel in float64: slow, and what other kernels
/// are tested against.
struct GatedScanReference: GatedScanKernel {
  let name = "cpu.reference"

  /// Scalar float64 relative to the peak rate of the vector units.
  private static let efficiency = 0.002
  /// Operations per element, forward, and forward and backward together.
  private static let forwardOperations = 3
  private static let trainingOperations = 9

  func objection(to problem: GatedScanProblem) -> Objection? { nil }

  func cost(of problem: GatedScanProblem) -> Cost {
    let operations = problem.needsGradient ? Self.trainingOperations : Self.forwardOperations
    return Cost(
      operations: Double(problem.elements) * Double(operations), bytes: problem.bytes,
      extraMemory: problem.elements * 3 * MemoryLayout<Double>.size,
      efficiency: Self.efficiency, overhead: 1e-5, pieces: 1)
  }

  /// The numbers of the tokens of one sequence in one channel.
  private func places(_ call: GatedScanArguments, _ sequence: TokenSequence, _ channel: Int)
    -> [Int]
  {
    sequence.tokens.map {
      (sequence.row * call.problem.length + $0) * call.problem.channels + channel
    }
  }

  private func eachChannel(
    _ call: GatedScanArguments, _ body: (_ places: [Int], _ state: Int) -> Void
  ) {
    for (index, sequence) in call.sequences.enumerated() {
      for channel in 0..<call.problem.channels {
        body(places(call, sequence, channel), index * call.problem.channels + channel)
      }
    }
  }

  private func initialState(_ call: GatedScanArguments) throws -> [Double] {
    try call.initialState?.elements(as: Double.self)
      ?? [Double](repeating: 0, count: call.stateShape.elementCount)
  }

  func forward(_ call: GatedScanArguments) throws -> GatedScanOutputs {
    let inputs = try call.inputs.elements(as: Double.self)
    let decay = try call.decay.elements(as: Double.self)
    var states = try initialState(call)
    var output = inputs
    eachChannel(call) { places, state in
      for place in places {
        states[state] = exp(decay[place]) * states[state] + inputs[place]
        output[place] = states[state]
      }
    }
    return GatedScanOutputs(
      output: try Tensor(output, call.inputs.shape).cast(to: call.problem.dtype),
      finalState: try Tensor(states, call.stateShape).cast(to: call.stateDType))
  }

  /// The recurrence backwards. With dh_t the gradient of h_t:
  ///
  ///     dh_t = do_t + e^{g_{t+1}} dh_{t+1} ,  dx_t = dh_t ,  dg_t = e^{g_t} h_{t−1} dh_t
  func backward(
    _ call: GatedScanArguments, _ outputs: GatedScanOutputs, _ incoming: GatedScanOutputs
  ) throws -> GatedScanGradients {
    let (outputGradient, finalStateGradient) = (incoming[.output], incoming[.finalState])
    let inputs = try call.inputs.elements(as: Double.self)
    let decay = try call.decay.elements(as: Double.self)
    let incoming = try (outputGradient ?? .zeros(call.inputs.shape)).elements(as: Double.self)
    let initial = try initialState(call)
    var stateGradient = try (finalStateGradient ?? .zeros(call.stateShape))
      .elements(as: Double.self)
    var (inputGradient, decayGradient) = (inputs, decay)
    eachChannel(call) { places, state in
      var before: [Double] = []
      var h = initial[state]
      for place in places {
        before.append(h)
        h = exp(decay[place]) * h + inputs[place]
      }
      for (place, h) in zip(places, before).reversed() {
        let gradient = stateGradient[state] + incoming[place]
        inputGradient[place] = gradient
        decayGradient[place] = exp(decay[place]) * h * gradient
        stateGradient[state] = exp(decay[place]) * gradient
      }
    }
    return [
      .inputs: try Tensor(inputGradient, call.inputs.shape),
      .decay: try Tensor(decayGradient, call.inputs.shape),
      .initialState: try Tensor(stateGradient, call.stateShape),
    ]
  }
}
