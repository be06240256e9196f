import AttentionCPUKernels

extension Tensor {
  /// exp(x) / Σ exp(x) over the last axis: [..., n] → [..., n].
  ///
  /// A row of only −∞ gives zeros and zero gradients; a row with NaN gives NaN.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if this is not a floating-point tensor of at
  ///   least one axis.
  public func softmax() throws -> Tensor {
    guard rank >= 1, dtype.isFloatingPoint else {
      throw TensorError.invalidArgument(
        "operand of softmax", was: "\(self.summary)", mustBe: "a floating-point tensor [..., n]")
    }
    // Rows of no elements are not iterated over, however many there are.
    if elementCount == 0 { return self }
    if dtype == .float64 { return try plainSoftmax() }
    if device != .cpu { return try deviceSoftmax() }
    if dtype.isHalfPrecision { return try cast(to: .float32).softmax().cast(to: dtype) }
    let n = shape[rank - 1]
    let rows = shape.dropLast().reduce(1, *)
    let source = try detached().contiguous()
    let result = try Tensor.filling(shape, as: Float.self) { y in
      try source.withUnsafePointer(to: Float.self) { x in
        let kernels = InstructionSet.current.kernels
        Threads.forEachRows(rows, width: n) { block in
          kernels.softmax(
            block.count, n, x + block.lowerBound * n, y + block.lowerBound * n)
        }
      }
    }
    return result.recorded(from: [self]) { gradient, history in
      if history.isRecorded { return [try history.output(result).softmaxGradient(gradient)] }
      return [try Tensor.softmaxGradient(result, gradient, rows, n)]
    }
  }

  /// The vector-Jacobian product of ``softmax()``, whose result this tensor is: y (g − Σ g y), by recorded
  /// operations.
  func softmaxGradient(_ gradient: Tensor) throws -> Tensor {
    let (y, g) = (try cast(to: .float32), try gradient.cast(to: .float32))
    return try (y * (g - (g * y).sum([-1], keepsAxes: true))).cast(to: dtype)
  }

  private static func softmaxGradient(
    _ result: Tensor, _ gradient: Tensor, _ rows: Int, _ n: Int
  ) throws -> Tensor {
    let gradient = try gradient.detached().contiguous()
    return try Tensor.filling(result.shape, as: Float.self) { dx in
      try result.withUnsafePointer(to: Float.self) { y in
        try gradient.withUnsafePointer(to: Float.self) { g in
          let kernels = InstructionSet.current.kernels
          Threads.forEachRows(rows, width: n) { block in
            let start = block.lowerBound * n
            kernels.softmax_backward(block.count, n, y + start, g + start, dx + start)
          }
        }
      }
    }
  }

  /// The definition by elementary operations.
  private func plainSoftmax() throws -> Tensor {
    let powers = try (self - rowShifts()).exponential()
    let total = try powers.sum([-1], keepsAxes: true)
    // Rows with an empty sum divide 0 by 1.
    let isEmpty = try total.isEqual(to: .zeros([], dtype: dtype)).cast(to: dtype)
    return try powers / (total + isEmpty)
  }

  /// The maximum of each row, with the last axis kept at extent one; 0 where it is −∞, so that subtracting
  /// it never gives NaN. Not recorded on the tape.
  func rowShifts() throws -> Tensor {
    let n = shape[rank - 1]
    let values = try elements(as: Double.self)
    let rows = shape.dropLast().reduce(1, *)
    let shifts = (0..<rows).map { row in
      let maximum = values[row * n..<(row + 1) * n].max() ?? 0
      return maximum == -.infinity ? 0 : maximum
    }
    return try Tensor(shifts, Shape(shape.dropLast() + [1])).cast(to: dtype).moved(to: device)
  }
}
