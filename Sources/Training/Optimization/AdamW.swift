import AttentionCLibrary
import AttentionCPUKernels
import AttentionCUDAKernels
import AttentionTensors

/// Adam with decoupled weight decay, as a pure function from parameters to parameters.
///
///     m ← β₁ m + (1 − β₁) g                v ← β₂ v + (1 − β₂) g²
///     p ← p − rate · ( (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε) + decay · p )
///
/// Only matrices (two axes or more) decay: projections and embeddings. Norm scales, biases and other vectors
/// do not, since nothing is gained by keeping them small.
///
/// Reference: Loshchilov, Hutter, *Decoupled weight decay regularization* (2019).
public struct AdamW: Hashable, Sendable {
  public let beta1: Double
  public let beta2: Double
  public let epsilon: Double
  public let weightDecay: Double

  public init(
    beta1: Double = 0.9, beta2: Double = 0.95, epsilon: Double = 1e-8, weightDecay: Double = 0.1
  ) {
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
    self.weightDecay = weightDecay
  }

  /// The optimizer's state between steps.
  public struct State: Sendable {
    /// The number of steps taken.
    public let step: Int
    /// Exponential moving averages of the gradients, float32, one per parameter.
    public let firstMoments: [Tensor]
    /// Exponential moving averages of the squared gradients, float32, one per parameter.
    public let secondMoments: [Tensor]

    public init(step: Int, firstMoments: [Tensor], secondMoments: [Tensor]) {
      self.step = step
      self.firstMoments = firstMoments
      self.secondMoments = secondMoments
    }

    /// The state before the first step.
    public init(for parameters: [Tensor]) throws {
      let zeros = try parameters.map { try Tensor.zeros($0.shape).moved(to: $0.device) }
      self.init(step: 0, firstMoments: zeros, secondMoments: zeros)
    }

    /// The same state on `device`.
    public func moved(to device: Device) throws -> State {
      State(
        step: step, firstMoments: try firstMoments.map { try $0.moved(to: device) },
        secondMoments: try secondMoments.map { try $0.moved(to: device) })
    }
  }

  /// The parameters after a step, in order, and the state after it.
  public struct Update: Sendable {
    public let parameters: [Tensor]
    /// The parameters rounded to the requested precision; unrounded if that is float32.
    public let rounded: [Tensor]
    public let state: State
  }

  /// Takes one step.
  ///
  /// - Parameters:
  ///   - parameters: float32.
  ///   - gradients: one per parameter, in its shape, float32 or half precision.
  ///   - clip: the factor that gradients are multiplied by first; nil for 1.
  ///   - rate: the learning rate.
  ///   - state: the state after the previous step.
  ///   - precision: what ``Update/rounded`` is rounded to.
  /// - Throws: ``TrainingError/invalidArgument(_:was:mustBe:)`` if counts, shapes or dtypes do not match.
  public func step(
    _ parameters: [Tensor], gradients: [Tensor], clip: GradientClip? = nil, rate: Double,
    state: State, precision: Precision = .float32
  ) throws -> Update {
    let device = parameters.first?.device ?? .cpu
    for (name, tensors) in [
      ("gradients", gradients), ("firstMoments", state.firstMoments),
      ("secondMoments", state.secondMoments), ("parameters", parameters),
    ] {
      try check(tensors, name, against: parameters, on: device)
    }
    return device == .cpu
      ? try hostStep(parameters, gradients, clip, rate, state, precision)
      : try deviceStep(parameters, gradients, clip, rate, state, precision, on: device)
  }

  private func rates(_ rate: Double, after step: Int) -> TrainingAdamWRates {
    TrainingAdamWRates(
      rate: Float(rate), beta1: Float(beta1), beta2: Float(beta2), epsilon: Float(epsilon),
      correction1: Float(1 - pow(beta1, Double(step + 1))),
      correction2: Float(1 - pow(beta2, Double(step + 1))))
  }

  private func decay(of shape: Shape) -> Float { Float(shape.rank >= 2 ? weightDecay : 0) }

  private func deviceStep(
    _ parameters: [Tensor], _ gradients: [Tensor], _ clip: GradientClip?, _ rate: Double,
    _ state: State, _ precision: Precision, on device: Device
  ) throws -> Update {
    let clip = try clip ?? GradientClip(norm: 0, factor: 1)
    let results = try DeviceAdamW(
      DeviceAdamW.Operands(
        parameters: parameters, gradients: gradients, firstMoments: state.firstMoments,
        secondMoments: state.secondMoments, clip: clip.figures.moved(to: device)), on: device
    ).run(
      rates(rate, after: state.step), decays: parameters.map { decay(of: $0.shape) },
      precision: precision)
    return Update(
      parameters: results.parameters, rounded: results.rounded,
      state: State(
        step: state.step + 1, firstMoments: results.firstMoments,
        secondMoments: results.secondMoments))
  }

  private func hostStep(
    _ parameters: [Tensor], _ gradients: [Tensor], _ clip: GradientClip?, _ rate: Double,
    _ state: State, _ precision: Precision
  ) throws -> Update {
    let scale = Float(try clip?.values[1] ?? 1)
    let rates = rates(rate, after: state.step)
    var new: [Tensor] = []
    var first: [Tensor] = []
    var second: [Tensor] = []
    for index in parameters.indices {
      let updated = try updated(
        [
          parameters[index], gradients[index].readAsFloat32(), state.firstMoments[index],
          state.secondMoments[index],
        ], scale, rates)
      new.append(try updated.selected(0, 0))
      first.append(try updated.selected(0, 1))
      second.append(try updated.selected(0, 2))
    }
    return Update(
      parameters: new, rounded: try new.map { try $0.cast(to: precision.dtype) },
      state: State(step: state.step + 1, firstMoments: first, secondMoments: second))
  }

  /// From a parameter, its gradient and its moments: the new parameter and its new moments, one
  /// behind the other in one tensor `[3, …]`.
  private func updated(_ old: [Tensor], _ scale: Float, _ rates: TrainingAdamWRates) throws
    -> Tensor
  {
    let shape = old[0].shape
    let old = try old.map { try $0.detached().contiguous() }
    let decay = decay(of: shape)
    let kernels = InstructionSet.current.kernels
    let blocks = ElementBlocks(counts: [shape.elementCount]).blocks
    return try Tensor.filling(Shape([3] + shape.dimensions), as: Float.self) { new in
      try Threads.tryForEach(blocks.count) { index in
        let start = blocks[index].start
        let p = new + start
        try read(old) {
          kernels.adamw(
            blocks[index].count, $0[0] + start, $0[1] + start, $0[2] + start, $0[3] + start,
            scale, rates.rate, rates.beta1, rates.beta2, rates.epsilon, decay,
            rates.correction1, rates.correction2, p, p + shape.elementCount,
            p + 2 * shape.elementCount)
        }
      }
    }
  }

  /// Calls `body` with the address of each tensor.
  private func read(
    _ tensors: [Tensor], _ addresses: [UnsafePointer<Float>] = [],
    _ body: ([UnsafePointer<Float>]) -> Void
  ) throws {
    guard addresses.count < tensors.count else { return body(addresses) }
    try tensors[addresses.count].withUnsafePointer(to: Float.self) {
      try read(tensors, addresses + [$0], body)
    }
  }

  private func check(
    _ tensors: [Tensor], _ name: String, against parameters: [Tensor], on device: Device
  ) throws {
    guard tensors.count == parameters.count else {
      throw TrainingError.invalidArgument(
        name, was: "\(tensors.count) tensors", mustBe: "\(parameters.count), one per parameter")
    }
    let allowsHalf = name == "gradients"
    for (index, (tensor, parameter)) in zip(tensors, parameters).enumerated() {
      let fits = tensor.dtype == .float32 || (allowsHalf && tensor.dtype.isHalfPrecision)
      guard fits, tensor.shape == parameter.shape else {
        throw TrainingError.invalidArgument(
          "\(name)[\(index)]", was: "\(tensor.dtype.rawValue) \(tensor.shape)",
          mustBe: "float32 \(parameter.shape)")
      }
      guard tensor.device == device else {
        throw TrainingError.invalidArgument(
          "\(name)[\(index)]", was: "on \(tensor.device)", mustBe: "on \(device), as parameters[0]")
      }
    }
  }
}
