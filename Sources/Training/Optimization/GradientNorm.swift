import AttentionCPUKernels
import AttentionTensors

/// The length of all gradients taken as one vector, and the factor that shortens it.
///
/// Reference: Pascanu, Mikolov, Bengio, *On the difficulty of training recurrent neural networks*
/// (2013).
public enum GradientNorm {
  /// √(Σ g²) over all elements of all tensors, float32 or half precision. Blocks are summed in
  /// float32, their sums in float64 in a fixed order.
  ///
  /// - Throws: `TensorError.invalidArgument(_:was:mustBe:)` for another dtype.
  public static func norm(of gradients: [Tensor]) throws -> Double {
    if let device = gradients.first?.device, device != .cpu {
      return try GradientClip(of: gradients, limit: .infinity).values[0]
    }
    let gradients = try gradients.map { try $0.detached().readAsFloat32().contiguous() }
    let blocks = ElementBlocks(counts: gradients.map(\.elementCount)).blocks
    let kernels = InstructionSet.current.kernels
    let sums = try Tensor.filling([blocks.count], as: Float.self) { sums in
      try Threads.tryForEach(blocks.count) { index in
        let block = blocks[index]
        try gradients[block.tensor].withUnsafePointer(to: Float.self) {
          sums[index] = kernels.dot(block.count, $0 + block.start, $0 + block.start)
        }
      }
    }
    return try sums.elements(as: Float.self).reduce(0.0) { $0 + Double($1) }.squareRoot()
  }

  /// What gradients of the given norm are multiplied with so that it is at most `limit`.
  public static func clipFactor(norm: Double, limit: Double) -> Double {
    norm > limit ? limit / norm : 1
  }
}

/// What gradients are multiplied with before a step, so that they are not too long.
public struct GradientClip: Sendable {
  /// Float64 [2]: the norm of all gradients together, and the factor; where the gradients are.
  let figures: Tensor

  /// The factor that shortens `gradients` to a norm of at most `limit`. That of gradients on a device is
  /// computed there, in an order that depends on their shapes only, and not waited for.
  ///
  /// - Throws: `TensorError.invalidArgument(_:was:mustBe:)` for another dtype than float32 and half
  ///   precision.
  public init(of gradients: [Tensor], limit: Double) throws {
    if let device = gradients.first?.device, device != .cpu {
      self.init(
        figures: try DeviceGradientNorm(gradients, on: device).figures(limit: limit))
      return
    }
    let norm = try GradientNorm.norm(of: gradients)
    try self.init(norm: norm, factor: GradientNorm.clipFactor(norm: norm, limit: limit))
  }

  /// A factor for gradients of a known norm.
  public init(norm: Double, factor: Double) throws {
    self.init(figures: try Tensor([norm, factor]))
  }

  private init(figures: Tensor) { self.figures = figures }

  /// The norm, and what gradients are multiplied with.
  public var values: [Double] { get throws { try figures.elements(as: Double.self) } }
}

extension Tensor {
  /// Half precision as float32; everything else as it is.
  func readAsFloat32() throws -> Tensor { dtype.isHalfPrecision ? try cast(to: .float32) : self }
}
