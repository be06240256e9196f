import AttentionCPUKernels

extension Tensor {
  /// x / √(mean(x²) + ε) · weight over the last axis: [..., n] and weight [n] → [..., n].
  ///
  /// Half precision is computed in float32; its weight may be float32 or of the same dtype.
  ///
  /// Reference: Zhang, Sennrich, *Root mean square layer normalization* (2019).
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if a shape or dtype is wrong, or `epsilon` is
  ///   not positive.
  public func rmsNorm(weight: Tensor, epsilon: Double = 1e-6) throws -> Tensor {
    try requireRows("rmsNorm", epsilon)
    let n = shape[rank - 1]
    try requireRowParameter("weight", weight)
    // Rows of no elements are not iterated over, however many there are.
    if n == 0 { return self }
    switch dtype {
    case .float64: return try plainRMSNorm(weight, epsilon)
    case _ where device != .cpu:
      if n <= DeviceRMSNorm.longestRow {
        return try deviceRMSNorm(weight: weight, epsilon: Float(epsilon))
      }
      return try plainRMSNorm(weight, epsilon)
    case .float32: return try fusedRMSNorm(weight, Float(epsilon))
    default:
      return try cast(to: .float32)
        .rmsNorm(weight: weight.cast(to: .float32), epsilon: epsilon).cast(to: dtype)
    }
  }

  /// x / √(Σx² + ε) over the last axis, [..., n] → [..., n].
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if this is not a floating-point tensor of at
  ///   least one axis, or `epsilon` is not positive.
  public func l2Normalized(epsilon: Double) throws -> Tensor {
    try requireRows("l2Normalized", epsilon)
    // √Σx² is √n times √mean(x²).
    let n = Swift.max(1, shape[rank - 1])
    let factor = 1 / Double(n).squareRoot()
    if device != .cpu, dtype != .float64, n <= DeviceRMSNorm.longestRow {
      return try deviceRMSNorm(
        weight: nil, factor: Float(factor), epsilon: Float(epsilon / Double(n)))
    }
    let weight = try Tensor.full([shape[rank - 1]], factor, dtype: dtype, device: device)
    return try rmsNorm(weight: weight, epsilon: epsilon / Double(n))
  }

  /// Throws unless `parameter` has one element per element of a row.
  func requireRowParameter(_ name: String, _ parameter: Tensor) throws {
    let n = shape[rank - 1]
    let fits = parameter.dtype == dtype || (dtype.isHalfPrecision && parameter.dtype == .float32)
    guard parameter.shape == [n], fits else {
      throw TensorError.invalidArgument(
        name, was: "\(parameter.summary)",
        mustBe: "\(dtype.rawValue) [\(n)], as the operand \(self.summary)")
    }
  }

  func requireRows(_ operation: String, _ epsilon: Double) throws {
    guard rank >= 1, dtype.isFloatingPoint else {
      throw TensorError.invalidArgument(
        "operand of \(operation)", was: "\(self.summary)",
        mustBe: "a floating-point tensor [..., n]")
    }
    guard epsilon > 0, epsilon.isFinite else {
      throw TensorError.invalidArgument("epsilon", was: "\(epsilon)", mustBe: "a number above 0")
    }
  }

  /// The definition by elementary operations; half precision is computed in float32.
  func plainRMSNorm(_ weight: Tensor, _ epsilon: Double) throws -> Tensor {
    if dtype.isHalfPrecision {
      return try cast(to: .float32).plainRMSNorm(weight.cast(to: .float32), epsilon)
        .cast(to: dtype)
    }
    let n = shape[rank - 1]
    let scale = try (squared().sum([-1], keepsAxes: true) / Double(Swift.max(1, n)) + epsilon)
      .reciprocalSquareRoot()
    return try self * scale * weight
  }

  private func fusedRMSNorm(_ weight: Tensor, _ epsilon: Float) throws -> Tensor {
    let n = shape[rank - 1]
    let rows = shape.dropLast().reduce(1, *)
    let source = try detached().contiguous()
    let scale = try weight.detached().contiguous()
    var reciprocals: Tensor?
    let result = try Tensor.filling(shape, as: Float.self) { y in
      reciprocals = try Tensor.filling([rows], as: Float.self) { rstd in
        try source.withUnsafePointer(to: Float.self) { x in
          try scale.withUnsafePointer(to: Float.self) { w in
            let kernels = InstructionSet.current.kernels
            Threads.forEachRows(rows, width: n) { block in
              let first = block.lowerBound
              kernels.rms_norm(
                block.count, n, x + first * n, w, epsilon, y + first * n, rstd + first)
            }
          }
        }
      }
    }
    guard let reciprocals else { return result }
    return result.recorded(from: [self, weight]) { gradient, history in
      if history.isRecorded {
        return try history.gradients(at: [source, scale], seed: gradient) {
          try $0[0].plainRMSNorm($0[1], Double(epsilon))
        }
      }
      return try Tensor.rmsNormGradients(
        source, scale, reciprocals, gradient.contiguous(), rows, n)
    }
  }

  /// The gradients of operand and weight. The weight's is summed in blocks of rows that depend on the shape
  /// only, and the blocks are added in order.
  private static func rmsNormGradients(
    _ source: Tensor, _ weight: Tensor, _ reciprocals: Tensor, _ gradient: Tensor, _ rows: Int,
    _ n: Int
  ) throws -> [Tensor] {
    let mostBlocks = 64
    let leastRows = 32
    let blockRows = max(leastRows, rows.pieces(of: mostBlocks))
    let blocks = rows.pieces(of: blockRows)
    let kernels = InstructionSet.current.kernels
    var sourceGradient: Tensor?
    let partial = try Tensor.filling([blocks, n], as: Float.self) { dw in
      dw.update(repeating: 0, count: blocks * n)
      sourceGradient = try Tensor.filling(source.shape, as: Float.self) { dx in
        try source.withUnsafePointer(to: Float.self) { x in
          try weight.withUnsafePointer(to: Float.self) { w in
            try reciprocals.withUnsafePointer(to: Float.self) { rstd in
              try gradient.withUnsafePointer(to: Float.self) { g in
                Threads.forEach(blocks) { block in
                  let first = block * blockRows
                  kernels.rms_norm_backward(
                    min(blockRows, rows - first), n, x + first * n, w, rstd + first, g + first * n,
                    dx + first * n, dw + block * n)
                }
              }
            }
          }
        }
      }
    }
    return [sourceGradient ?? source, try partial.sum([0])]
  }
}

extension Tensor {
  /// (x − mean(x)) / √(variance(x) + ε) · weight + bias over the last axis, with the variance of the
  /// population (divided by n): [..., n], weight and bias [n] → [..., n].
  ///
  /// Half precision is computed in float32; its weight and bias may be float32 or of the same dtype.
  ///
  /// Reference: Ba, Kiros, Hinton, *Layer normalization* (2016).
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if a shape or dtype is wrong, or `epsilon` is
  ///   not positive.
  public func layerNorm(
    weight: Tensor? = nil, bias: Tensor? = nil, epsilon: Double = 1e-5
  ) throws -> Tensor {
    try requireRows("layerNorm", epsilon)
    if let weight { try requireRowParameter("weight", weight) }
    if let bias { try requireRowParameter("bias", bias) }
    // Rows of no elements are not iterated over, however many there are.
    if shape[rank - 1] == 0 { return self }
    if dtype.isHalfPrecision {
      return try cast(to: .float32).layerNorm(
        weight: weight?.cast(to: .float32), bias: bias?.cast(to: .float32), epsilon: epsilon
      ).cast(to: dtype)
    }
    let centred = try self - mean([-1], keepsAxes: true)
    let variance = try centred.squared().mean([-1], keepsAxes: true)
    var result = try centred * (variance + epsilon).reciprocalSquareRoot()
    if let weight { result = try result * weight }
    if let bias { result = try result + bias }
    return result
  }
}
