extension Tensor {
  /// The mean negative log-likelihood of targets whose logits are products with the rows of `weight`:
  ///
  ///     mean over rows r with target ≥ 0 of  log Σ_c exp(x_r · w_c) − x_r · w_target
  ///
  /// As `matmul(weight.transposed()).crossEntropy(targets).mean()`, but the logits of all rows never
  /// exist at once: they are computed for some rows, turned into what those rows add to loss and
  /// gradients, and dropped. The gradients are computed together with the loss.
  ///
  /// - Parameters:
  ///   - weight: [classes, width], of this tensor's dtype; this is [rows, width].
  ///   - targets: int32 [rows]. Rows whose target is negative do not count.
  /// - Returns: a scalar in nats, float32, or float64 where this tensor is; 0 if no row counts.
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if a shape or dtype does not fit, or a
  ///   target is no class.
  public func linearCrossEntropy(weight: Tensor, targets: Tensor) throws -> Tensor {
    guard rank == 2, dtype.isFloatingPoint else {
      throw TensorError.invalidArgument(
        "operand of linearCrossEntropy", was: "\(self)",
        mustBe: "a floating-point tensor [rows, width]")
    }
    guard weight.rank == 2, weight.shape[1] == shape[1], weight.dtype == dtype else {
      throw TensorError.invalidArgument(
        "weight", was: "\(weight)", mustBe: "\(dtype.rawValue) [classes, \(shape[1])]")
    }
    try targets.requireClasses(rows: shape[0], below: weight.shape[0], atLeast: nil)
    let numbers = try targets.elements(as: Int32.self)
    let counted = numbers.indices.filter { numbers[$0] >= 0 }
    guard counted.count == numbers.count else {
      return try gatheringRows(Tensor(counted.map(Int32.init)))
        .linearCrossEntropy(weight: weight, targets: Tensor(counted.map { numbers[$0] }))
    }
    if dtype == .float64 {
      return try matmul(weight.transposed()).crossEntropy(targets).mean()
    }
    var sums = LinearCrossEntropy(self, weight)
    return try sums.run(targets.detached().contiguous())
  }
}

/// The loss and its gradients, summed over pieces of the rows.
private struct LinearCrossEntropy {
  private let x: Tensor
  private let weight: Tensor
  private let inputs: [Tensor]
  private var losses: [Tensor] = []
  private var rowGradients: [Tensor] = []
  /// Float32, whatever the weight is.
  private var weightGradient: Tensor?

  /// As many logits are computed at once as keep the products busy.
  private static let mostLogits = 1 << 22
  private static let leastRows = 64

  init(_ x: Tensor, _ weight: Tensor) {
    inputs = [x, weight]
    (self.x, self.weight) = (x.detached(), weight.detached())
  }

  mutating func run(_ targets: Tensor) throws -> Tensor {
    let rows = x.shape[0]
    let pieceRows = max(Self.leastRows, Self.mostLogits / max(1, weight.shape[0]))
    for start in stride(from: 0, to: rows, by: pieceRows) {
      let range = start..<min(rows, start + pieceRows)
      try add(x.sliced(0, range), targets.sliced(0, range), count: rows)
    }
    guard rows > 0 else { return try .zeros([]) }
    let loss = try Tensor.concatenated(losses, 0).mean()
    let dx = inputs[0].isTracked ? try Tensor.concatenated(rowGradients, 0) : nil
    let dw = try weightGradient?.cast(to: weight.dtype)
    return loss.recorded(from: inputs) { gradient in
      [try dx?.multiplied(byNumber: gradient), try dw?.multiplied(byNumber: gradient)]
    }
  }

  /// - Parameter count: the rows over which the mean is taken.
  private mutating func add(_ x: Tensor, _ targets: Tensor, count: Int) throws {
    let logits = try x.matmul(weight.transposed()).cast(to: .float32)
    let result = try logits.rowLosses(targets)
    losses.append(result.losses)
    guard inputs.contains(where: \.isTracked) else { return }
    let share = try Tensor.full([x.shape[0]], 1 / Double(count)).contiguous()
    let gradient = try logits.logitGradients(targets, result.logSums, share).cast(to: x.dtype)
    if inputs[0].isTracked { rowGradients.append(try gradient.matmul(weight)) }
    if inputs[1].isTracked {
      let added = try gradient.transposed().matmul(x).cast(to: .float32)
      weightGradient = try weightGradient.map { try $0 + added } ?? added
    }
  }
}

extension Tensor {
  /// This times `number`, a float32 scalar. Not recorded.
  fileprivate func multiplied(byNumber number: Tensor) throws -> Tensor {
    try self * number.cast(to: dtype)
  }
}
