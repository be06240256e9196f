import AttentionCPUKernels

extension Tensor {
  /// The negative log-likelihood of each row's target: log Σ exp(x) − x[target].
  ///
  /// [rows, classes] logits and [rows] targets (int32) → [rows] losses in nats: float64 for float64 logits,
  /// otherwise float32.
  ///
  /// Targets on the CPU may accompany logits on a GPU: they are checked and copied. Targets on a GPU are not
  /// checked; one that is out of range makes its loss NaN.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if a shape or dtype is wrong, or a target on
  ///   the CPU is out of range.
  public func crossEntropy(_ targets: Tensor) throws -> Tensor {
    guard rank == 2, dtype.isFloatingPoint else {
      throw TensorError.invalidArgument(
        "logits", was: "\(self.summary)", mustBe: "a floating-point tensor [rows, classes]")
    }
    try targets.requireClasses(rows: shape[0], below: shape[1], atLeast: 0)
    let targets = try targets.detached().moved(to: device)
    switch dtype {
    case .float64: return try plainCrossEntropy(targets)
    case _ where device != .cpu: return try deviceCrossEntropy(targets)
    case .float32: return try fusedCrossEntropy(targets.contiguous())
    default: return try cast(to: .float32).crossEntropy(targets)
    }
  }

  /// Throws ``TensorError/invalidArgument(_:was:mustBe:)`` unless these are targets for `rows` rows, below
  /// `classes` and at least `least` if that is not nil. Targets on a GPU are not read.
  func requireClasses(rows: Int, below classes: Int, atLeast least: Int32?) throws {
    guard dtype == .int32, shape == [rows] else {
      throw TensorError.invalidArgument(
        "targets", was: "\(self.summary)", mustBe: "int32 [\(rows)]")
    }
    guard device == .cpu else { return }
    for (row, target) in try elements(as: Int32.self).enumerated()
    where target >= classes || target < least ?? target {
      throw TensorError.invalidArgument(
        "targets[\(row)]", was: "\(target)",
        mustBe: least == nil ? "below \(classes)" : "in 0..<\(classes)")
    }
  }

  private func fusedCrossEntropy(_ targets: Tensor) throws -> Tensor {
    let logits = try detached().contiguous()
    let result = try logits.rowLosses(targets)
    return result.losses.recorded(from: [self]) { gradient, history in
      if history.isRecorded {
        return try history.gradients(at: [logits], seed: gradient) {
          try $0[0].plainCrossEntropy(targets)
        }
      }
      return [try logits.logitGradients(targets, result.logSums, gradient.contiguous())]
    }
  }

  /// The losses of rows of logits.
  struct RowLosses {
    /// [rows]
    let losses: Tensor
    /// log Σ exp(x) of each row in two parts, [rows, 2]: the row's maximum, and the rest, which could be
    /// lost to rounding if they were added.
    let logSums: Tensor
  }

  /// The losses of these contiguous float32 logits. Not recorded on the tape.
  func rowLosses(_ targets: Tensor) throws -> RowLosses {
    let (rows, classes) = (shape[0], shape[1])
    let results = try Tensor.filling([([rows], .float32), ([rows, 2], .float32)]) { results in
      let losses = results[0].assumingMemoryBound(to: Float.self)
      let logSums = results[1].assumingMemoryBound(to: Float.self)
      try withUnsafePointer(to: Float.self) { x in
        try targets.withUnsafePointer(to: Int32.self) { target in
          let kernels = InstructionSet.current.kernels
          Threads.forEachRows(rows, width: classes) { block in
            let first = block.lowerBound
            kernels.cross_entropy(
              block.count, classes, x + first * classes, target + first, losses + first,
              logSums + 2 * first)
          }
        }
      }
    }
    return RowLosses(losses: results[0], logSums: results[1])
  }

  /// The gradient of these contiguous float32 logits, given that of the losses, [rows]. Not recorded on the
  /// tape.
  func logitGradients(_ targets: Tensor, _ logSums: Tensor, _ gradients: Tensor) throws -> Tensor {
    let (rows, classes) = (shape[0], shape[1])
    return try Tensor.filling(shape, as: Float.self) { dx in
      try withUnsafePointer(to: Float.self) { x in
        try targets.withUnsafePointer(to: Int32.self) { target in
          try logSums.withUnsafePointer(to: Float.self) { logSums in
            try gradients.withUnsafePointer(to: Float.self) { g in
              let kernels = InstructionSet.current.kernels
              Threads.forEachRows(rows, width: classes) { block in
                let first = block.lowerBound
                kernels.cross_entropy_backward(
                  block.count, classes, x + first * classes, target + first, logSums + 2 * first,
                  g + first, dx + first * classes)
              }
            }
          }
        }
      }
    }
  }

  /// The definition, from elementary operations.
  func plainCrossEntropy(_ targets: Tensor) throws -> Tensor {
    // The maximum is subtracted first: added to a large one, the logarithm would be lost to rounding.
    let shifted = try self - rowShifts()
    let logSumExp = try shifted.exponential().sum([1], keepsAxes: true).logarithm()
    let isTarget = try targets.unsqueezed(1).isEqual(
      to: .range(shape[1]).moved(to: device).unsqueezed(0))
    let picked = try Tensor.select(isTarget, shifted, .zeros([], dtype: dtype))
    return try (logSumExp - picked.sum([1], keepsAxes: true)).squeezed(1)
  }
}
