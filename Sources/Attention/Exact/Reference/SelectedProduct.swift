import AttentionCPUKernels
import AttentionTensors

extension Tensor {
  /// The matrix product over the last two axes, in which a zero of this tensor cancels its row of `other`
  /// even if that has NaN or infinity. Computed in float64, rounded to this tensor's dtype.
  func selectedProduct(_ other: Tensor) throws -> Tensor {
    let (m, k) = (shape[rank - 2], shape[rank - 1])
    let n = other.shape[other.rank - 1]
    let batches = Shape(shape.dropLast(2))
    let a = try elements(as: Double.self)
    let b = try other.elements(as: Double.self)
    var c = [Double](repeating: 0, count: batches.elementCount * m * n)
    for batch in 0..<batches.elementCount {
      for i in 0..<m {
        let row = (batch * m + i) * n
        for p in 0..<k where a[(batch * m + i) * k + p] != 0 {
          let weight = a[(batch * m + i) * k + p]
          for j in 0..<n { c[row + j] += weight * b[(batch * k + p) * n + j] }
        }
      }
    }
    return try Tensor(c, Shape(batches.dimensions + [m, n])).cast(to: dtype)
  }

  /// The products of this tensor's rows [b,h,t,d] and those of `keys` [b,h,s,d] where `visible` [b,1,t,s] is
  /// true, elsewhere 0: masked pairs contribute neither to the result nor to gradients.
  func visibleProducts(_ keys: Tensor, _ visible: Tensor) throws -> Tensor {
    let (q, k, dtype) = (detached(), keys.detached(), dtype)
    let products = try Tensor.select(
      visible, q.matmul(k.transposed()), .zeros([], dtype: dtype))
    return products.recorded(from: [self, keys]) { g in
      let seen = try Tensor.select(visible, g, .zeros([], dtype: dtype))
      return [try seen.selectedProduct(k), try seen.transposed().selectedProduct(q)]
    }
  }

  /// The sums of `values` [b,h,s,v] weighted by this tensor [b,h,t,s], which is 0 where `visible` is false.
  func visibleSums(_ values: Tensor, _ visible: Tensor) throws -> Tensor {
    let (p, v, dtype) = (detached(), values.detached(), dtype)
    return try p.selectedProduct(v).recorded(from: [self, values]) { g in
      [
        try .select(visible, g.matmul(v.transposed()), .zeros([], dtype: dtype)),
        try p.transposed().selectedProduct(g),
      ]
    }
  }

  /// The cumulative sums of this tensor [b,t,h], by the product with `matrix` [b,t,t].
  func selectedSums(_ matrix: Tensor) throws -> Tensor {
    try matrix.selectedProduct(detached()).recorded(from: [self]) { g in
      [try matrix.transposed().selectedProduct(g)]
    }
  }

  /// Whether no element is NaN or infinite.
  func isFinite() throws -> Bool {
    guard let type = dtype.floatType else {
      return try elements(as: Double.self).allSatisfy(\.isFinite)
    }
    return try contiguous().withUnsafeRawPointer {
      InstructionSet.current.kernels.rows_are_finite(type, 1, elementCount, $0, 0) != 0
    }
  }

  /// Bool: whether any flag of `axes` is true; the axes are kept.
  func anyTrue(_ axes: [Int]) throws -> Tensor {
    try cast(to: .float32).sum(axes, keepsAxes: true).isGreater(than: .zeros([]))
  }
}
