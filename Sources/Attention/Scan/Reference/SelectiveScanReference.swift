import AttentionCLibrary
import AttentionTensors

/// The definition of the selective scan, computed state by state in float64: slow, and what other kernels
/// are tested against.
struct SelectiveScanReference: SelectiveScanKernel {
  let name = "cpu.reference"

  /// Scalar float64 relative to the peak rate of the vector units.
  private static let efficiency = 0.002
  /// Operations per exponential, forward, and forward and backward together.
  private static let forwardOperations = 6
  private static let trainingOperations = 20

  func objection(to problem: SelectiveScanProblem) -> Objection? { nil }

  func cost(of problem: SelectiveScanProblem) -> Cost {
    let operations = problem.needsGradient ? Self.trainingOperations : Self.forwardOperations
    return Cost(
      operations: problem.exponentials * Double(operations), bytes: problem.bytes,
      extraMemory: problem.batch * problem.length * (3 * problem.channels + 2 * problem.states)
        * MemoryLayout<Double>.size,
      efficiency: Self.efficiency, overhead: 1e-5, pieces: 1)
  }

  func forward(_ call: SelectiveScanArguments) throws -> SelectiveScanOutputs {
    let arrays = try SelectiveArrays(call)
    var (output, states) = (arrays.inputs, arrays.initialState)
    arrays.eachState { tokens, channel, n, state in
      for token in tokens {
        let place = token * call.problem.channels + channel
        let factor = token * call.problem.states + n
        if n == 0 { output[place] = arrays.skip[channel] * arrays.inputs[place] }
        states[state] =
          exp(arrays.step[place] * arrays.rate(channel, n)) * states[state]
          + arrays.step[place] * arrays.inputs[place] * arrays.inputMatrix[factor]
        output[place] += arrays.outputMatrix[factor] * states[state]
      }
    }
    return SelectiveScanOutputs(
      output: try Tensor(output, call.inputs.shape).cast(to: call.problem.dtype),
      finalState: try Tensor(states, call.stateShape).cast(to: call.stateDType))
  }

  /// The recurrence backwards. With dh_t the gradient of h_t and a_t = e^{Δ_t A}:
  ///
  ///     dh_t = C_t dy_t + a_{t+1} dh_{t+1} ,  dC_t = Σ dy_t h_t ,  dB_t = Σ Δ_t x_t dh_t
  ///     dA = Σ Δ_t a_t h_{t−1} dh_t ,  dΔ_t = Σ (A a_t h_{t−1} + x_t B_t) dh_t
  ///     dx_t = D dy_t + Σ Δ_t B_t dh_t ,  dD = Σ x_t dy_t
  func backward(
    _ call: SelectiveScanArguments, _ outputs: SelectiveScanOutputs,
    _ incoming: SelectiveScanOutputs
  ) throws -> SelectiveScanGradients {
    let (outputGradient, finalStateGradient) = (incoming[.output], incoming[.finalState])
    let arrays = try SelectiveArrays(call)
    let (d, s) = (call.problem.channels, call.problem.states)
    let incoming = try (outputGradient ?? .zeros(call.inputs.shape)).elements(as: Double.self)
    var stateGradient = try (finalStateGradient ?? .zeros(call.stateShape))
      .elements(as: Double.self)
    func zeros(_ count: Int) -> [Double] { [Double](repeating: 0, count: count) }
    var (dx, dstep) = (zeros(arrays.inputs.count), zeros(arrays.inputs.count))
    var (da, dskip, dbias) = (zeros(d * s), zeros(d), zeros(d))
    var (db, dc) = (zeros(arrays.inputMatrix.count), zeros(arrays.inputMatrix.count))
    arrays.eachState { tokens, channel, n, state in
      var states = [arrays.initialState[state]]
      for token in tokens {
        let place = token * d + channel
        states.append(
          exp(arrays.step[place] * arrays.rate(channel, n)) * states[states.count - 1]
            + arrays.step[place] * arrays.inputs[place] * arrays.inputMatrix[token * s + n])
      }
      for (t, token) in tokens.enumerated().reversed() {
        let (place, factor) = (token * d + channel, token * s + n)
        let (x, step) = (arrays.inputs[place], arrays.step[place])
        let keep = exp(step * arrays.rate(channel, n))
        let gradient = stateGradient[state] + arrays.outputMatrix[factor] * incoming[place]
        dc[factor] += incoming[place] * states[t + 1]
        db[factor] += step * x * gradient
        da[channel * s + n] += step * keep * states[t] * gradient
        dstep[place] +=
          (arrays.rate(channel, n) * keep * states[t] + x * arrays.inputMatrix[factor]) * gradient
        dx[place] += step * arrays.inputMatrix[factor] * gradient
        stateGradient[state] = keep * gradient
        if n == 0 {
          dx[place] += arrays.skip[channel] * incoming[place]
          dskip[channel] += x * incoming[place]
        }
      }
    }
    for place in dstep.indices {
      // Where Δ has slope 0, its gradient may be NaN if the rate is infinite.
      let slope = arrays.stepSlope[place]
      dstep[place] = slope == 0 ? 0 : dstep[place] * slope
      dbias[place % d] += dstep[place]
    }
    let (tokens, shared) = (call.inputs.shape, call.inputMatrix.shape)
    return [
      .inputs: try Tensor(dx, tokens), .step: try Tensor(dstep, tokens),
      .stateMatrix: try Tensor(da, [d, s]), .inputMatrix: try Tensor(db, shared),
      .outputMatrix: try Tensor(dc, shared), .skip: try Tensor(dskip, [d]),
      .stepBias: try Tensor(dbias, [d]), .initialState: try Tensor(stateGradient, call.stateShape),
    ]
  }
}

/// The tensors of a call as float64 arrays.
private struct SelectiveArrays {
  let call: SelectiveScanArguments
  let inputs: [Double]
  /// Δ, and its derivative with respect to the step.
  let step: [Double]
  let stepSlope: [Double]
  let stateMatrix: [Double]
  let inputMatrix: [Double]
  let outputMatrix: [Double]
  let skip: [Double]
  let initialState: [Double]

  init(_ call: SelectiveScanArguments) throws {
    self.call = call
    let zeros = [Double](repeating: 0, count: call.problem.channels)
    inputs = try call.inputs.elements(as: Double.self)
    let bias = try call.stepBias?.elements(as: Double.self) ?? zeros
    let raw = try call.step.elements(as: Double.self).enumerated().map {
      $1 + bias[$0 % bias.count]
    }
    let softplus = call.problem.appliesSoftplus
    step = softplus ? raw.map { max($0, 0) + log1p(exp(-abs($0))) } : raw
    stepSlope = raw.map { softplus ? 1 / (1 + exp(-$0)) : 1 }
    stateMatrix = try call.stateMatrix.elements(as: Double.self)
    inputMatrix = try call.inputMatrix.elements(as: Double.self)
    outputMatrix = try call.outputMatrix.elements(as: Double.self)
    skip = try call.skip?.elements(as: Double.self) ?? zeros
    initialState =
      try call.initialState?.elements(as: Double.self)
      ?? [Double](repeating: 0, count: call.stateShape.elementCount)
  }

  /// An infinite rate counts as the largest finite number: it clears the state unless the step is 0.
  func rate(_ channel: Int, _ n: Int) -> Double {
    let rate = stateMatrix[channel * call.problem.states + n]
    return rate == -.infinity ? -.greatestFiniteMagnitude : rate
  }

  /// Calls `body` for every state of every channel and sequence, with the tokens as indices in the batch, the
  /// channel, the state's index in it, and its index among all states.
  func eachState(_ body: (_ tokens: Range<Int>, _ channel: Int, _ n: Int, _ state: Int) -> Void) {
    let problem = call.problem
    for (index, sequence) in call.sequences.enumerated() {
      let first = sequence.row * problem.length
      let tokens = first + sequence.tokens.lowerBound..<first + sequence.tokens.upperBound
      for channel in 0..<problem.channels {
        for n in 0..<problem.states {
          body(tokens, channel, n, (index * problem.channels + channel) * problem.states + n)
        }
      }
    }
  }
}
