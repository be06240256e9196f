import CPUKernels

extension Tensor {
  /// The negative log-likelihood of each row's target: log Σ exp(x) − x[target].
  ///
  /// [rows, classes] logits and [rows] targets (int32) → [rows] losses in nats: float32, or float64
  /// where the logits are.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if a shape or dtype is another, or a
  ///   target is no class.
  public func crossEntropy(_ targets: Tensor) throws -> Tensor {
    guard rank == 2, dtype.isFloatingPoint else {
      throw TensorError.invalidArgument(
        "logits", was: "\(self)", mustBe: "a floating-point tensor [rows, classes]")
    }
    let (rows, classes) = (shape[0], shape[1])
    guard targets.dtype == .int32, targets.shape == [rows] else {
      throw TensorError.invalidArgument("targets", was: "\(targets)", mustBe: "int32 [\(rows)]")
    }
    let chosen = try targets.elements(as: Int32.self)
    for (row, target) in chosen.enumerated() where target < 0 || target >= classes {
      throw TensorError.invalidArgument(
        "targets[\(row)]", was: "\(target)", mustBe: "in 0..<\(classes)")
    }
    switch dtype {
    case .float64: return try plainCrossEntropy(targets)
    case .float32: return try fusedCrossEntropy(targets.detached().contiguous(), rows, classes)
    default: return try cast(to: .float32).crossEntropy(targets)
    }
  }

  private func fusedCrossEntropy(
    _ targets: Tensor, _ rows: Int, _ classes: Int
  ) throws -> Tensor {
    let logits = try detached().contiguous()
    var logSumExp: Tensor?
    let losses = try Tensor.filling([rows], as: Float.self) { loss in
      logSumExp = try Tensor.filling([rows], as: Float.self) { lse in
        try logits.withUnsafePointer(to: Float.self) { x in
          try targets.withUnsafePointer(to: Int32.self) { target in
            let kernels = InstructionSet.current.kernels
            Threads.forEachRows(rows, width: classes) { block in
              let first = block.lowerBound
              kernels.cross_entropy(
                block.count, classes, x + first * classes, target + first, loss + first,
                lse + first)
            }
          }
        }
      }
    }
    guard let logSumExp else { return losses }
    return losses.recorded(from: [self]) { gradient in
      let gradient = try gradient.contiguous()
      let result = try Tensor.filling([rows, classes], as: Float.self) { dx in
        try logits.withUnsafePointer(to: Float.self) { x in
          try targets.withUnsafePointer(to: Int32.self) { target in
            try logSumExp.withUnsafePointer(to: Float.self) { lse in
              try gradient.withUnsafePointer(to: Float.self) { g in
                let kernels = InstructionSet.current.kernels
                Threads.forEachRows(rows, width: classes) { block in
                  let first = block.lowerBound
                  kernels.cross_entropy_backward(
                    block.count, classes, x + first * classes, target + first, lse + first,
                    g + first, dx + first * classes)
                }
              }
            }
          }
        }
      }
      return [result]
    }
  }

  /// The definition, from elementary operations.
  private func plainCrossEntropy(_ targets: Tensor) throws -> Tensor {
    let shifts = try rowShifts()
    let logSumExp = try (self - shifts).exponential().sum([1], keepsAxes: true).logarithm() + shifts
    let isTarget = try targets.unsqueezed(1).isEqual(to: .range(shape[1]).unsqueezed(0))
    let picked = try Tensor.select(isTarget, self, .zeros([], dtype: dtype))
    return try (logSumExp - picked.sum([1], keepsAxes: true)).squeezed(1)
  }
}
