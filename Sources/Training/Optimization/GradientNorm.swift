import AttentionCPUKernels
import AttentionTensors

/// The global norm of gradients, taken as one vector, and the factor that clips it.
///
/// Reference: Pascanu, Mikolov, Bengio, *On the difficulty of training recurrent neural networks*
/// (2013).
public enum GradientNorm {
  /// √(Σ g²) over all elements of all tensors, float32 or half precision. Blocks are summed in
  /// float32, their sums in float64 in a fixed order.
  ///
  /// - Throws: `TensorError.invalidArgument(_:was:mustBe:)` for any other dtype.
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

  /// The factor that scales gradients of the given norm down to at most `limit`.
  public static func clipFactor(norm: Double, limit: Double) -> Double {
    norm > limit ? limit / norm : 1
  }
}

/// The factor that gradients are multiplied by before a step to limit their norm.
public struct GradientClip: Sendable {
  /// Float64 [2]: the global norm and the factor, on the gradients' device.
  let figures: Tensor

  /// Computes the factor that scales `gradients` down to a norm of at most `limit`. For gradients on a GPU it
  /// is computed there, asynchronously, in an order that depends on their shapes only.
  ///
  /// - Throws: `TensorError.invalidArgument(_:was:mustBe:)` for dtypes other than float32 and half
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

  /// The norm and the factor.
  public var values: [Double] { get throws { try figures.elements(as: Double.self) } }
}

extension Tensor {
  /// Half precision converted to float32; other dtypes unchanged.
  func readAsFloat32() throws -> Tensor { dtype.isHalfPrecision ? try cast(to: .float32) : self }
}
