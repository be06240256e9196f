import CPUKernels
import Tensors

/// y = w · x / √(mean(x²) + ε) over the last axis.
///
/// Reference: Zhang, Sennrich, *Root mean square layer normalization* (2019).
public struct RMSNorm: Sendable {
  /// [width]
  public let weight: Tensor
  public let epsilon: Double

  /// - Throws: ``LayerError``.
  public init(width: Int, epsilon: Double, scope: ParameterScope) throws {
    try LayerError.require("epsilon", isPositive: epsilon)
    weight = try scope.parameter("weight", [width], .ones)
    self.epsilon = epsilon
  }

  /// - Throws: ``LayerError/invalidArgument(_:was:mustBe:)`` if the last axis is not `width` long.
  public func callAsFunction(_ x: Tensor) throws -> Tensor {
    try x.rmsNormalized(weight: weight, epsilon: epsilon)
  }
}

extension Tensor {
  /// This tensor [..., n] times `weight` [n] / √(mean(x²) + ε) over the last axis.
  func rmsNormalized(weight: Tensor, epsilon: Double) throws -> Tensor {
    guard rank >= 1, weight.shape == [shape[rank - 1]] else {
      throw LayerError.invalidArgument(
        "x", was: "\(shape)", mustBe: "[..., \(weight.elementCount)]")
    }
    return try computedInFloat32("x") { x in
      try x.rmsNormalizedInFloat32(weight: weight.cast(to: .float32), epsilon: Float(epsilon))
    }
  }

  /// x / √(Σx² + ε) over the last axis.
  func l2Normalized(epsilon: Double) throws -> Tensor {
    // The root of the sum is √n times the root of the mean.
    let n = Double(try extent(-1))
    let weight = try Tensor.full([try extent(-1)], 1 / n.squareRoot())
    return try rmsNormalized(weight: weight, epsilon: epsilon / n)
  }

  private func rmsNormalizedInFloat32(weight: Tensor, epsilon: Float) throws -> Tensor {
    let x = try detached().contiguous()
    let w = try weight.detached().contiguous()
    let width = w.shape[0]
    let blocks = RowBlocks(rows: width == 0 ? 0 : elementCount / width, width: width)
    let kernels = InstructionSet.current.kernels
    // 1/√(mean(x²) + ε) of each row.
    let reciprocals = try Scratch(floats: blocks.rows)
    let normalized = try Tensor.filling(shape, as: Float.self) { y in
      try x.withUnsafePointer(to: Float.self) { x in
        try w.withUnsafePointer(to: Float.self) { w in
          blocks.forEach { _, rows in
            let first = rows.lowerBound
            kernels.rms_norm(
              rows.count, width, x + first * width, w, epsilon, y + first * width,
              reciprocals.base + first)
          }
        }
      }
    }
    return normalized.recorded(from: [self, weight]) { gradient in
      let g = try gradient.contiguous()
      let partial = try Scratch(floats: blocks.count * width)
      let dx = try Tensor.filling(x.shape, as: Float.self) { dx in
        try x.withUnsafePointer(to: Float.self) { x in
          try w.withUnsafePointer(to: Float.self) { w in
            try g.withUnsafePointer(to: Float.self) { g in
              blocks.forEach { block, rows in
                let first = rows.lowerBound
                let dw = partial.base + block * width
                dw.update(repeating: 0, count: width)
                kernels.rms_norm_backward(
                  rows.count, width, x + first * width, w, reciprocals.base + first,
                  g + first * width, dx + first * width, dw)
              }
            }
          }
        }
      }
      let dw = try Tensor.filling([width], as: Float.self) { dw in
        dw.update(repeating: 0, count: width)
        for block in 0..<blocks.count { kernels.axpy(width, 1, partial.base + block * width, dw) }
      }
      return [dx, dw]
    }
  }
}
