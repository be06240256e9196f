extension Tensor {
  /// The mean negative log-likelihood of targets whose logits are products with the rows of `weight`:
  ///
  ///     mean over rows r with target ≥ 0 of  log Σ_c exp(x_r · w_c) − x_r · w_target
  ///
  /// The same as `matmul(weight.transposed()).crossEntropy(targets).mean()` over those rows, but the logits
  /// of all rows never exist at once: they are computed for some rows, reduced to their contributions to
  /// loss and gradients, and dropped. The gradients are computed together with the loss; except in float64
  /// they cannot be differentiated themselves.
  ///
  /// Targets on the CPU may accompany operands on a GPU: they are checked and copied. Targets on a GPU are
  /// not checked; one that is out of range makes the loss NaN.
  ///
  /// - Parameters:
  ///   - weight: `[classes, width]`, in this tensor's dtype; this tensor is [rows, width].
  ///   - targets: `int32 [rows]`. Rows with a negative target are ignored.
  /// - Returns: a scalar in nats, float64 if this tensor is, otherwise float32; 0 if no row counts.
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if a shape or dtype is wrong, or a target on
  ///   the CPU is out of range.
  public func linearCrossEntropy(weight: Tensor, targets: Tensor) throws -> Tensor {
    guard rank == 2, dtype.isFloatingPoint else {
      throw TensorError.invalidArgument(
        "operand of linearCrossEntropy", was: "\(self.summary)",
        mustBe: "a floating-point tensor [rows, width]")
    }
    guard weight.rank == 2, weight.shape[1] == shape[1], weight.dtype == dtype else {
      throw TensorError.invalidArgument(
        "weight", was: "\(weight.summary)", mustBe: "\(dtype.rawValue) [classes, \(shape[1])]")
    }
    try targets.requireClasses(rows: shape[0], below: weight.shape[0], atLeast: nil)
    let targets = targets.detached()
    if device != .cpu, dtype != .float64 {
      var sums = LinearCrossEntropy(self, weight, share: try targets.reciprocalCount(on: device))
      return try sums.run(targets.moved(to: device).contiguous())
    }
    let numbers = try targets.elements(as: Int32.self)
    let counted = numbers.indices.filter { numbers[$0] >= 0 }
    guard counted.count == numbers.count else {
      return try gatheringRows(Tensor(counted.map(Int32.init)))
        .linearCrossEntropy(weight: weight, targets: Tensor(counted.map { numbers[$0] }))
    }
    if dtype == .float64 {
      return try matmul(weight.transposed()).crossEntropy(targets).mean()
    }
    var sums = LinearCrossEntropy(self, weight, share: try targets.reciprocalCount(on: .cpu))
    return try sums.run(targets.contiguous())
  }

  /// The reciprocal of the number of non-negative targets, 1 if there are none: float32 [1] on `device`.
  fileprivate func reciprocalCount(on device: Device) throws -> Tensor {
    guard self.device == .cpu else {
      let none = try Tensor([Int32(-1)], [])
      return try isGreater(than: none).cast(to: .float32).sum().reshaped([1])
        .maximum(.ones([])).reciprocal()
    }
    let count = try elements(as: Int32.self).reduce(0) { $0 + ($1 >= 0 ? 1 : 0) }
    return try Tensor([1 / Float(Swift.max(1, count))]).moved(to: device)
  }
}

/// The loss and its gradients, accumulated over pieces of the rows.
private struct LinearCrossEntropy {
  private let x: Tensor
  private let weight: Tensor
  private let inputs: [Tensor]
  /// The weight of a row's loss in the mean, float32 [1].
  private let share: Tensor
  private var losses: [Tensor] = []
  private var rowGradients: [Tensor] = []
  /// In float32, whatever the dtype of the weight.
  private var weightGradient: Tensor?

  private var needsGradients: Bool { inputs.contains(where: \.isTracked) }

  /// Rows whose logits exist at the same time: enough to keep the matrix products efficient, which takes
  /// more on a GPU.
  private var pieceRows: Int {
    let isHost = x.device == .cpu
    let (mostLogits, leastRows) = isHost ? (1 << 22, 64) : (1 << 27, 1024)
    return max(leastRows, mostLogits / max(1, weight.shape[0]))
  }

  init(_ x: Tensor, _ weight: Tensor, share: Tensor) {
    inputs = [x, weight]
    (self.x, self.weight, self.share) = (x.detached(), weight.detached(), share)
  }

  mutating func run(_ targets: Tensor) throws -> Tensor {
    let rows = x.shape[0]
    for start in stride(from: 0, to: rows, by: pieceRows) {
      let range = start..<min(rows, start + pieceRows)
      try add(x.sliced(0, range), targets.sliced(0, range))
    }
    guard rows > 0 else { return try .zeros([]).moved(to: x.device) }
    let loss = try Tensor.joined(losses).sum() * share.reshaped([])
    let dx = inputs[0].isTracked ? try Tensor.joined(rowGradients) : nil
    let dw = try weightGradient?.cast(to: weight.dtype)
    return loss.recorded(from: inputs, operation: "linearCrossEntropy") { gradient in
      [try dx?.multiplied(byNumber: gradient), try dw?.multiplied(byNumber: gradient)]
    }
  }

  private mutating func add(_ x: Tensor, _ targets: Tensor) throws {
    let logits = try x.matmul(weight.transposed())
    let gradient =
      x.device == .cpu
      ? try addLosses(of: logits, targets) : try addDeviceLosses(of: logits, targets)
    guard let gradient else { return }
    if inputs[0].isTracked { rowGradients.append(try gradient.matmul(weight)) }
    if inputs[1].isTracked {
      let added = try gradient.transposed().matmul(x).cast(to: .float32)
      weightGradient = try weightGradient.map { try $0 + added } ?? added
    }
  }

  /// Adds the losses of some rows and returns the gradient of their logits, nil if none is needed.
  private mutating func addLosses(of logits: Tensor, _ targets: Tensor) throws -> Tensor? {
    let wide = try logits.cast(to: .float32)
    let result = try wide.rowLosses(targets)
    losses.append(result.losses)
    guard needsGradients else { return nil }
    let shares = try share.expanded(to: [logits.shape[0]]).contiguous()
    return try wide.logitGradients(targets, result.logSums, shares).cast(to: logits.dtype)
  }

  private mutating func addDeviceLosses(of logits: Tensor, _ targets: Tensor) throws -> Tensor? {
    let rows = try DeviceCrossEntropy(logits, targets, skipsNegative: true)
    guard needsGradients else {
      losses.append(try rows.losses().losses)
      return nil
    }
    let result = try rows.lossesReplacingLogits(gradient: share)
    losses.append(result.losses)
    return result.gradients
  }
}

extension Tensor {
  /// The tensors concatenated along the first axis; a single one is not copied.
  fileprivate static func joined(_ tensors: [Tensor]) throws -> Tensor {
    tensors.count == 1 ? tensors[0] : try concatenated(tensors, 0)
  }

  /// This tensor times `number`, a float32 scalar. Not recorded on the tape.
  fileprivate func multiplied(byNumber number: Tensor) throws -> Tensor {
    try self * number.cast(to: dtype)
  }
}
