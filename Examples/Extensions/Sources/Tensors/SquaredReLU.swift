import SwiftAttention

extension Tensor {
  /// max(x, 0)², element by element.
  ///
  /// Float32 on the processor is one pass over memory, forward and backward; others, and gradients that are to be
  /// differentiated themselves, are made of recorded operations.
  ///
  /// Reference: So, Mańke, Liu, Dai, Shazeer, Le, *Primer: Searching for efficient transformers* (2021).
  public func squaredReLU() throws -> Tensor {
    guard dtype == .float32, device == .cpu else { return try squaredReLUByDefinition() }
    let x = try detached().contiguous()
    let count = elementCount
    let y = try Tensor.filling(shape, as: Float.self) { y in
      try x.withUnsafePointer(to: Float.self) { x in
        for i in 0..<count {
          let positive = max(0, x[i])
          y[i] = positive * positive
        }
      }
    }
    return y.recorded(from: [self]) { gradient, history in
      if history.isRecorded {
        return try history.gradients(at: [x], seed: gradient) {
          try $0[0].squaredReLUByDefinition()
        }
      }
      let gradient = try gradient.contiguous()
      let product = try Tensor.filling(x.shape, as: Float.self) { product in
        try x.withUnsafePointer(to: Float.self) { x in
          try gradient.withUnsafePointer(to: Float.self) { gradient in
            for i in 0..<count { product[i] = 2 * max(0, x[i]) * gradient[i] }
          }
        }
      }
      return [product]
    }
  }

  /// The same from recorded operations.
  public func squaredReLUByDefinition() throws -> Tensor { try relu().squared() }
}
