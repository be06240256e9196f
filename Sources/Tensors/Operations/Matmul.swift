import AttentionCPUKernels

extension Tensor {
  /// The matrix product over the last two axes: [..., m, k] × [..., k, n] → [..., m, n].
  ///
  /// Leading axes broadcast. Half precision is accumulated in float32 and rounded once. Either operand may
  /// be a transposed view; it is not copied.
  public func matmul(_ other: Tensor) throws -> Tensor {
    guard rank >= 2, other.rank >= 2, shape[rank - 1] == other.shape[other.rank - 2] else {
      throw TensorError.invalidArgument(
        "operands of matmul", was: "\(shape) and \(other.shape)",
        mustBe: "[..., m, k] and [..., k, n]")
    }
    let device = try Tensor.device(of: [self, other], "matmul")
    guard self.device == device, other.device == device else {
      return try moved(to: device).matmul(other.moved(to: device))
    }
    let (a, b) = (detached(), other.detached())
    let (needsLeft, needsRight) = (isTracked, other.isTracked)
    return try Tensor.product(a, b).recorded(from: [self, other]) { g, history in
      let (a, b) = try (history.input(0, a), history.input(1, b))
      let da = needsLeft ? try g.matmul(b.transposed()) : nil
      guard needsRight else { return [try da?.summed(to: a.shape), nil] }
      // If b is one matrix for all leading axes, its gradient is one product over all rows.
      if b.rank == 2, a.rank > 2 {
        let rows = try a.asRows()
        let gradientRows = try g.asRows()
        return [da, try rows.transposed().matmul(gradientRows)]
      }
      let db = try a.transposed().matmul(g)
      return [try da?.summed(to: a.shape), try db.summed(to: b.shape)]
    }
  }

  /// The product, not recorded on the tape.
  private static func product(_ a: Tensor, _ b: Tensor) throws -> Tensor {
    guard a.dtype == b.dtype, a.dtype.isFloatingPoint else {
      throw TensorError.invalidArgument(
        "operands of matmul", was: "\(a.dtype.rawValue) and \(b.dtype.rawValue)",
        mustBe: "of one floating-point dtype")
    }
    if a.device != .cpu { return try productOnDevice(a, b) }
    let kernels = InstructionSet.current.kernels
    let multipliesPairs =
      a.dtype == .bfloat16 && kernels.has_bf16 != 0
      && a.shape[a.rank - 2] >= BFloat16MatrixProduct.leastRows && !RowByRow.isOn
    if a.dtype.isHalfPrecision, !multipliesPairs {
      return try product(a.cast(to: .float32), b.cast(to: .float32)).cast(to: a.dtype)
    }
    let (m, k, n) = (a.shape[a.rank - 2], a.shape[a.rank - 1], b.shape[b.rank - 1])
    // If b is one matrix for all leading axes, their rows form one long matrix.
    if b.rank == 2, a.rank > 2 {
      let rows = try a.asRows()
      return try product(rows, b).reshaped(Shape(a.shape.dropLast() + [n]))
    }
    let leading = try Shape.broadcasting(Shape(a.shape.dropLast(2)), Shape(b.shape.dropLast(2)))
    let left = try a.expanded(to: Shape(leading.dimensions + [m, k]))
    let right = try b.expanded(to: Shape(leading.dimensions + [k, n]))
    let shape = Shape(leading.dimensions + [m, n])
    guard try shape.validated(elementSize: a.dtype.size) > 0 else {
      return try Tensor.filling(shape, dtype: a.dtype) { _ in }
    }
    let matrices = leading.elementCount
    let leftOffsets = left.leadingOffsets(leading)
    let rightOffsets = right.leadingOffsets(leading)
    let axis = leading.rank
    if multipliesPairs {
      return try BFloat16MatrixProduct(left, right, matrices, leftOffsets, rightOffsets)
        .run(shape: shape)
    }
    if a.dtype == .float64 {
      return try Tensor.filling(shape, as: Double.self) { c in
        try left.withUnsafePointer(to: Double.self) { x in
          try right.withUnsafePointer(to: Double.self) { y in
            Threads.forEach(matrices) { index in
              kernels.matmul_f64(
                m, n, k, x + leftOffsets[index], left.strides[axis], left.strides[axis + 1],
                y + rightOffsets[index], right.strides[axis], right.strides[axis + 1],
                c + index * m * n)
            }
          }
        }
      }
    }
    return try Tensor.filling(shape, as: Float.self) { c in
      try left.withUnsafePointer(to: Float.self) { x in
        try right.withUnsafePointer(to: Float.self) { y in
          try MatrixProduct(
            rows: m, columns: n, depth: k,
            leftStrides: (left.strides[axis], left.strides[axis + 1]),
            rightStrides: (right.strides[axis], right.strides[axis + 1])
          ).run(matrices, x, leftOffsets, y, rightOffsets, c)
        }
      }
    }
  }

  /// The rows of all leading axes as one matrix, even if rows are empty.
  private func asRows() throws -> Tensor {
    try reshaped([shape.dropLast().reduce(1, *), shape[rank - 1]])
  }

  private static func productOnDevice(_ a: Tensor, _ b: Tensor) throws -> Tensor {
    // If b is one matrix for all leading axes and a is contiguous, their rows form one long matrix.
    if b.rank == 2, a.rank > 2, a.isContiguous {
      return try productOnDevice(a.asRows(), b, leading: [])
        .reshaped(Shape(a.shape.dropLast() + [b.shape[1]]))
    }
    return try productOnDevice(
      a, b,
      leading: .broadcasting(Shape(a.shape.dropLast(2)), Shape(b.shape.dropLast(2))))
  }

  /// The offset of each matrix of the leading axes.
  private func leadingOffsets(_ leading: Shape) -> [Int] {
    var offsets = [0]
    for axis in leading.indices {
      offsets = offsets.flatMap { base in (0..<leading[axis]).map { base + $0 * strides[axis] } }
    }
    return offsets
  }
}
