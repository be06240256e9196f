import AttentionCLibrary
import AttentionCPUKernels
import AttentionTensors

/// The softmax of [b,h,t,s] scores over the keys, and the log-sum-exp [b,h,t], by elementary
/// operations. A sink [h] is one more logit in the sum; an infinite one takes the whole weight. Empty
/// rows give zeros and −∞.
func plainSoftmax(_ scores: Tensor, sinkLogits: Tensor?) throws -> (weights: Tensor, lse: Tensor) {
  let dtype = scores.dtype
  let (zero, one) = (try Tensor.zeros([], dtype: dtype), try Tensor.ones([], dtype: dtype))
  let infinite = try Tensor.full([], -.infinity, dtype: dtype)
  var logits = scores
  if let sinkLogits {
    // ∞ − ∞ is NaN; the largest finite number leaves the other scores as little weight.
    let largest = try Tensor.full([], .greatestFiniteMagnitude, dtype: dtype)
    let isInfinite = try sinkLogits.isEqual(to: .full([], .infinity, dtype: dtype))
    let column = try Tensor.select(isInfinite, largest, sinkLogits)
      .reshaped([sinkLogits.elementCount, 1, 1])
      .expanded(to: Shape(scores.shape.dropLast() + [1]))
    logits = try .concatenated([scores, column], -1)
  }
  let highest = try rowMaxima(logits)
  let shift = try Tensor.select(highest.isEqual(to: infinite), zero, highest)
  let powers = try (logits - shift).exponential()
  let sums = try powers.sum([-1], keepsAxes: true)
  let isEmpty = try sums.isEqual(to: zero)
  let divisors = try Tensor.select(isEmpty, one, sums)
  let weights = try (powers / divisors).sliced(-1, 0..<scores.shape[3])
  let finite = try divisors.logarithm() + shift
  return (weights, try .select(isEmpty, infinite, finite).squeezed(-1))
}

/// The maximum of each row, not recorded, because the softmax does not depend on its shift.
private func rowMaxima(_ x: Tensor) throws -> Tensor {
  let width = x.shape[x.rank - 1]
  let values = try x.elements(as: Double.self)
  let rows = Shape(x.shape.dropLast() + [1])
  return try Tensor(
    (0..<rows.elementCount).map { row in
      var highest = -Double.infinity
      for j in row * width..<(row + 1) * width { highest = max(highest, values[j]) }
      return highest
    }, rows
  ).cast(to: x.dtype)
}

/// The same in two passes over each row, like an unfused implementation.
func fusedSoftmax(_ scores: Tensor, sinkLogits: Tensor?) throws -> (weights: Tensor, lse: Tensor) {
  guard scores.dtype == .float32 else {
    // Half precision: the softmax in float32, its weights rounded to be an operand of a product.
    let (weights, lse) = try fusedSoftmax(
      scores.cast(to: .float32), sinkLogits: sinkLogits?.cast(to: .float32))
    return (try weights.cast(to: scores.dtype), try lse.cast(to: scores.dtype))
  }
  let kernels = InstructionSet.current.kernels
  let (rows, width) = (scores.shape.dropLast().reduce(1, *), scores.shape[3])
  let (heads, t) = (scores.shape[1], scores.shape[2])
  let source = try scores.detached().contiguous()
  let logits = try sinkLogits?.elements(as: Float.self)
  let rowShape = Shape(Array(scores.shape.dropLast()))
  let results = try Tensor.filling([
    (shape: scores.shape, dtype: .float32), (shape: rowShape, dtype: .float32),
    (shape: logits == nil ? [0] : rowShape, dtype: .float32),
  ]) { pointers in
    let floats = pointers.map { $0.assumingMemoryBound(to: Float.self) }
    try source.withUnsafePointer(to: Float.self) { x in
      Threads.forEach(rows) { row in
        let y = floats[0] + row * width
        y.update(from: x + row * width, count: width)
        let sink = logits?[row / t % heads] ?? -.infinity
        var high = sink
        var sum: Float = sink == -.infinity ? 0 : 1
        var none: Float = 0
        kernels.softmax_online(1, width, y, width, logTwoOfE, &high, &sum, &none, 0, 0)
        kernels.scale(width, sum == 0 ? 0 : 1 / sum, y)
        floats[1][row] = sum == 0 ? -.infinity : high + log(sum)
        guard logits != nil else { return }
        // Not from the log-sum-exp, in which a large maximum rounds the sum away.
        floats[2][row] =
          sum == 0 ? 0 : (sink == high ? 1 : exp2((sink - high) * logTwoOfE)) / sum
      }
    }
  }
  let (p, l, share) = (results[0], results[1], results[2])
  let recorded = Tensor.recording(
    [p, l], from: [scores] + (sinkLogits.map { [$0] } ?? []), operation: "attention"
  ) { incoming in
    // ds = p (g − Σ p g + dl); a sink has no value, so only − Σ p g + dl remains.
    let g = try incoming[0] ?? .zeros(p.shape)
    let dl = try incoming[1] ?? .zeros(l.shape)
    let delta = try (p * g).sum([-1]) - dl
    let ds = try p * (g - delta.unsqueezed(3))
    return sinkLogits == nil ? [ds] : [ds, try -(share * delta).sum([0, 2])]
  }
  return (recorded[0], recorded[1])
}
