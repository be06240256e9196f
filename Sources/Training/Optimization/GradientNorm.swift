import CPUKernels
import Tensors

/// The length of all gradients taken as one vector, and the factor that shortens it.
///
/// Reference: Pascanu, Mikolov, Bengio, *On the difficulty of training recurrent neural networks*
/// (2013).
public enum GradientNorm {
  /// √(Σ g²) over all elements of all tensors, float32. Blocks are summed in float32, their sums
  /// in float64 in a fixed order.
  ///
  /// - Throws: `TensorError.invalidArgument(_:was:mustBe:)` for another dtype.
  public static func norm(of gradients: [Tensor]) throws -> Double {
    let gradients = try gradients.map { try $0.detached().contiguous() }
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
