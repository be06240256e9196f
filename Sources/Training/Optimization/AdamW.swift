import CPUKernels
import Glibc
import Tensors

/// Adam with decoupled weight decay, as a function from parameters to parameters.
///
///     m ← β₁ m + (1 − β₁) g                v ← β₂ v + (1 − β₂) g²
///     p ← p − rate · ( (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε) + decay · p )
///
/// Only matrices (two axes or more) decay: projections and embeddings. Scales of norms, biases and
/// other vectors do not, since they have no reason to be small.
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

  /// What the optimizer remembers between steps.
  public struct State: Sendable {
    /// The number of steps taken.
    public let step: Int
    /// The running means of gradients, float32, one a parameter.
    public let firstMoments: [Tensor]
    /// The running means of squared gradients, float32, one a parameter.
    public let secondMoments: [Tensor]

    public init(step: Int, firstMoments: [Tensor], secondMoments: [Tensor]) {
      self.step = step
      self.firstMoments = firstMoments
      self.secondMoments = secondMoments
    }

    /// The state before the first step.
    public init(for parameters: [Tensor]) throws {
      let zeros = try parameters.map { try Tensor.zeros($0.shape) }
      self.init(step: 0, firstMoments: zeros, secondMoments: zeros)
    }
  }

  /// The parameters after a step, in their order, and the state after it.
  public struct Update: Sendable {
    public let parameters: [Tensor]
    public let state: State
  }

  /// Takes one step.
  ///
  /// - Parameters:
  ///   - parameters: float32.
  ///   - gradients: one a parameter, in its shape, float32.
  ///   - gradientScale: what gradients are multiplied with first, for clipping.
  ///   - rate: the learning rate.
  ///   - state: what the step before returned.
  /// - Throws: ``TrainingError/invalidArgument(_:was:mustBe:)`` where counts, shapes or dtypes do
  ///   not agree.
  public func step(
    _ parameters: [Tensor], gradients: [Tensor], gradientScale: Double = 1, rate: Double,
    state: State
  ) throws -> Update {
    for (name, tensors) in [
      ("gradients", gradients), ("firstMoments", state.firstMoments),
      ("secondMoments", state.secondMoments), ("parameters", parameters),
    ] {
      try check(tensors, name, against: parameters)
    }
    let rates = Rates(
      gradientScale: Float(gradientScale), rate: Float(rate),
      correction1: Float(1 - pow(beta1, Double(state.step + 1))),
      correction2: Float(1 - pow(beta2, Double(state.step + 1))))
    var new: [Tensor] = []
    var first: [Tensor] = []
    var second: [Tensor] = []
    for index in parameters.indices {
      let updated = try updated(
        [
          parameters[index], gradients[index], state.firstMoments[index],
          state.secondMoments[index],
        ], rates)
      new.append(try updated.selected(0, 0))
      first.append(try updated.selected(0, 1))
      second.append(try updated.selected(0, 2))
    }
    return Update(
      parameters: new,
      state: State(step: state.step + 1, firstMoments: first, secondMoments: second))
  }

  private struct Rates {
    let gradientScale: Float
    let rate: Float
    let correction1: Float
    let correction2: Float
  }

  /// From a parameter, its gradient and its moments: the new parameter and its new moments, one
  /// behind the other in one tensor `[3, …]`.
  private func updated(_ old: [Tensor], _ rates: Rates) throws -> Tensor {
    let shape = old[0].shape
    let old = try old.map { try $0.detached().contiguous() }
    let decay = Float(shape.rank >= 2 ? weightDecay : 0)
    let kernels = InstructionSet.current.kernels
    let blocks = ElementBlocks(counts: [shape.elementCount]).blocks
    return try Tensor.filling(Shape([3] + shape.dimensions), as: Float.self) { new in
      try Threads.tryForEach(blocks.count) { index in
        let start = blocks[index].start
        let p = new + start
        try read(old) {
          kernels.adamw(
            blocks[index].count, $0[0] + start, $0[1] + start, $0[2] + start, $0[3] + start,
            rates.gradientScale, rates.rate, Float(beta1), Float(beta2), Float(epsilon), decay,
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

  private func check(_ tensors: [Tensor], _ name: String, against parameters: [Tensor]) throws {
    guard tensors.count == parameters.count else {
      throw TrainingError.invalidArgument(
        name, was: "\(tensors.count) tensors", mustBe: "\(parameters.count), one a parameter")
    }
    for (index, (tensor, parameter)) in zip(tensors, parameters).enumerated()
    where tensor.shape != parameter.shape || tensor.dtype != .float32 {
      throw TrainingError.invalidArgument(
        "\(name)[\(index)]", was: "\(tensor.dtype.rawValue) \(tensor.shape)",
        mustBe: "float32 \(parameter.shape)")
    }
  }
}
