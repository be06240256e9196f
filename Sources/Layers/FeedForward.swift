import CPUKernels
import Tensors

/// y = W₂ (silu(W₀ x) ⊙ W₁ x), the SwiGLU feed-forward layer.
///
/// Reference: Shazeer, *GLU variants improve transformer* (2020).
public struct FeedForward: Sendable {
  private let gate: Linear
  private let up: Linear
  private let down: Linear

  /// - Parameters:
  ///   - width: the extent of the last axis of input and output.
  ///   - inner: the width between the projections.
  ///   - outputScale: the standard deviation of an output for inner numbers of variance 1.
  /// - Throws: ``LayerError``.
  public init(width: Int, inner: Int, outputScale: Double = 1, scope: ParameterScope) throws {
    gate = try Linear(inputs: width, outputs: inner, scope: scope["gate_proj"])
    up = try Linear(inputs: width, outputs: inner, scope: scope["up_proj"])
    down = try Linear(
      inputs: inner, outputs: width, scale: outputScale, scope: scope["down_proj"])
  }

  public func callAsFunction(_ x: Tensor) throws -> Tensor {
    try down(Tensor.swiGLU(gate: gate(x), up: up(x)))
  }
}

extension Tensor {
  /// silu(gate) ⊙ up, for tensors of one shape and dtype.
  static func swiGLU(gate: Tensor, up: Tensor) throws -> Tensor {
    guard gate.shape == up.shape, gate.dtype == up.dtype else {
      throw LayerError.invalidArgument("up", was: "\(up)", mustBe: "like gate, \(gate)")
    }
    return try gate.computedInFloat32("gate") {
      try swiGLUInFloat32(gate: $0, up: up.cast(to: .float32))
    }
  }

  private static func swiGLUInFloat32(gate: Tensor, up: Tensor) throws -> Tensor {
    let a = try gate.detached().contiguous()
    let b = try up.detached().contiguous()
    let kernels = InstructionSet.current.kernels
    let blocks = RowBlocks(rows: a.elementCount, width: 1)
    let product = try Tensor.filling(a.shape, as: Float.self) { y in
      try a.withUnsafePointer(to: Float.self) { a in
        try b.withUnsafePointer(to: Float.self) { b in
          blocks.forEach { _, range in
            let first = range.lowerBound
            kernels.swiglu(range.count, a + first, b + first, y + first)
          }
        }
      }
    }
    return product.recorded(from: [gate, up]) { gradient in
      let g = try gradient.contiguous()
      // Both gradients in one tensor, so that one pass over the inputs makes them.
      let both = try Tensor.filling(Shape([2] + a.shape.dimensions), as: Float.self) { target in
        try a.withUnsafePointer(to: Float.self) { a in
          try b.withUnsafePointer(to: Float.self) { b in
            try g.withUnsafePointer(to: Float.self) { g in
              blocks.forEach { _, range in
                let first = range.lowerBound
                kernels.swiglu_backward(
                  range.count, a + first, b + first, g + first, target + first,
                  target + blocks.rows + first)
              }
            }
          }
        }
      }
      return [try both.selected(0, 0), try both.selected(0, 1)]
    }
  }
}
