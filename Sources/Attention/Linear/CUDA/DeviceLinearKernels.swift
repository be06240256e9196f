import AttentionCUDA
import AttentionTensors

/// Linear attention on an NVIDIA GPU in chunks of 16 tokens, forward and backward: one block per sequence,
/// head and slice of the values' columns, with the state in shared memory. Sums are float32.
struct DeviceChunked: LinearKernel {
  /// Whether this is the kernel of erasing updates, or of additive ones.
  let erases: Bool

  var name: String { erases ? "cuda.erasing" : "cuda.chunked" }

  /// Float32 multiply-adds from shared memory relative to the device's half-precision products.
  private static let efficiency = 0.005
  /// The seconds that a block takes per chunk, excluding memory traffic: forward, and both passes together.
  private static let forwardLatency = 5e-6
  private static let trainingLatency = 25e-6

  func objection(to device: Device) -> Objection? { .unlessGPU(device) }

  func objection(to problem: LinearProblem) -> Objection? {
    if problem.update.isErasing != erases {
      return Objection(
        "the update is \(problem.update.rawValue); this kernel \(erases ? "erases" : "only adds")")
    }
    return Self.objection(
      to: problem, passes: problem.needsGradient ? [.forward, .backward] : [.forward])
  }

  /// The objection of all kernels on GPUs, to unsupported problems and to those that exceed shared memory.
  static func objection(to problem: LinearProblem, passes: [LinearTile.Pass]) -> Objection? {
    if problem.dtype == .float64 {
      return Objection("needs float32, bfloat16 or float16 inputs, was float64")
    }
    if problem.keyDimension > LinearTile.largestKeyDimension {
      return Objection(
        "key dimension \(problem.keyDimension); needs at most \(LinearTile.largestKeyDimension)")
    }
    let blocks = problem.recurrences * problem.valueDimension.pieces(of: LinearTile.narrowest)
    if let objection = Objection.beyondGrid(
      tokens: problem.batch * problem.length, blocks: max(blocks, problem.valueDimension))
    {
      return objection
    }
    guard case .cuda(let index) = problem.device, let device = try? CUDADevice.at(index) else {
      return nil
    }
    let room = device.limits.sharedBytesPerBlock
    for pass in passes where LinearTile(problem, pass, sharedBytes: room) == nil {
      return Objection(
        "a block needs \(LinearTile.leastSharedBytes(problem, pass)) bytes of shared memory; "
          + "\(device.limits.name) has \(room)")
    }
    return nil
  }

  func cost(of problem: LinearProblem) -> Cost {
    let (k, v, chunk) = (problem.keyDimension, problem.valueDimension, LinearTile.chunk)
    let tokens = problem.batch * problem.length * problem.valueHeads
    let products = (problem.update.isErasing ? 3 : 2) * (problem.needsGradient ? 4 : 1)
    let perToken = products * (2 * k * v + chunk * (k + v))
    let slices = v.pieces(of: 32)
    let chunks = problem.length.pieces(of: chunk)
    let latency = problem.needsGradient ? Self.trainingLatency : Self.forwardLatency
    let kept = problem.needsGradient ? tokens / chunk * k * v + 2 * slices * tokens * k : 0
    return Cost(
      operations: Double(tokens) * Double(perToken), bytes: problem.bytes,
      extraMemory: kept * MemoryLayout<Float>.size, efficiency: Self.efficiency,
      overhead: Double(max(1, chunks)) * latency, pieces: problem.recurrences * slices)
  }

  func forward(_ call: LinearArguments) throws -> LinearOutputs {
    let linear = try DeviceLinear(call)
    return try linear.forward(linear.tile(.forward, name))
  }

  func backward(
    _ call: LinearArguments, _ outputs: LinearOutputs, _ incoming: LinearOutputs
  ) throws -> LinearGradients {
    let (outputGradient, finalStateGradient) = (incoming[.output], incoming[.finalState])
    let linear = try DeviceLinear(call)
    let states = try linear.states(linear.tile(.forward, name))
    return try linear.backward(
      linear.tile(.backward, name), states: states, outputGradient: outputGradient,
      finalStateGradient: finalStateGradient)
  }
}

/// Linear attention on an NVIDIA GPU in its step form, forward only, for every update: for decoding, where a
/// call has one token or a few. The state stays in registers.
struct DeviceStep: LinearKernel {
  let name = "cuda.step"

  private static let efficiency = 0.005
  private static let operations = 7
  /// The seconds that a block takes per token, excluding memory traffic.
  private static let latency = 1.5e-6

  func objection(to device: Device) -> Objection? { .unlessGPU(device) }

  func objection(to problem: LinearProblem) -> Objection? {
    DeviceChunked.objection(to: problem, passes: [])
      ?? (problem.needsGradient ? Self.gradientObjection : nil)
  }

  private static let gradientObjection = Objection(
    "computes no gradients")

  func cost(of problem: LinearProblem) -> Cost {
    let state = problem.keyDimension * problem.valueDimension
    let tokens = problem.batch * problem.length * problem.valueHeads
    return Cost(
      operations: Double(tokens) * Double(state) * Double(Self.operations), bytes: problem.bytes,
      extraMemory: 0, efficiency: Self.efficiency,
      overhead: Double(max(1, problem.length)) * Self.latency,
      pieces: problem.recurrences * problem.valueDimension.pieces(of: LinearStepTile.columns))
  }

  func forward(_ call: LinearArguments) throws -> LinearOutputs {
    guard let tile = LinearStepTile(call.problem) else {
      throw AttentionError.kernelObjects(
        name, objection(to: call.problem) ?? Objection("the key dimension is too large"))
    }
    return try DeviceLinear(call).step(tile)
  }

  func backward(
    _ call: LinearArguments, _ outputs: LinearOutputs, _ incoming: LinearOutputs
  ) throws -> LinearGradients {
    throw AttentionError.kernelObjects(name, Self.gradientObjection)
  }
}
