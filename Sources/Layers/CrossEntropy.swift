import CPUKernels
import Tensors

/// The mean over tokens of log Σ exp(logits) − logits[target], in nats.
///
/// - Parameters:
///   - logits: [..., classes].
///   - targets: int32 of the shape of `logits` without its last axis. Negative targets do not count.
/// - Returns: a float32 scalar, 0 if no target counts.
/// - Throws: ``LayerError/invalidArgument(_:was:mustBe:)`` if shapes do not agree or a target is not
///   below the number of classes.
public func crossEntropy(_ logits: Tensor, targets: Tensor) throws -> Tensor {
  guard logits.rank >= 1, targets.dtype == .int32,
    targets.shape == Shape(Array(logits.shape.dropLast()))
  else {
    throw LayerError.invalidArgument(
      "targets", was: "\(targets)",
      mustBe: "int32 of the shape of the logits \(logits.shape) without the last axis")
  }
  guard logits.dtype == .float32 || logits.dtype.isHalfPrecision else {
    throw LayerError.invalidArgument(
      "logits", was: logits.dtype.rawValue, mustBe: "float32, bfloat16 or float16")
  }
  let classes = logits.shape[logits.rank - 1]
  var chosen = try targets.elements(as: Int32.self)
  if let place = chosen.firstIndex(where: { Int($0) >= classes }) {
    throw LayerError.invalidArgument(
      "targets", was: "\(chosen[place]) at \(place)", mustBe: "below \(classes)")
  }
  // The weight of each token in the mean.
  let counted = chosen.count { $0 >= 0 }
  let weights = chosen.map { $0 >= 0 ? 1 / Float(counted) : 0 }
  for place in chosen.indices where chosen[place] < 0 { chosen[place] = 0 }
  return try crossEntropy(
    logits.cast(to: .float32), targets: Tensor(chosen), weights: Tensor(weights), classes: classes)
}

/// Σ weights · losses over rows of float32 logits.
private func crossEntropy(_ logits: Tensor, targets: Tensor, weights: Tensor, classes: Int) throws
  -> Tensor
{
  let x = try logits.detached().contiguous()
  let blocks = RowBlocks(rows: targets.elementCount, width: classes)
  let kernels = InstructionSet.current.kernels
  let logSumExps = try Scratch(floats: blocks.rows)
  let losses = try Tensor.filling(targets.shape, as: Float.self) { losses in
    try x.withUnsafePointer(to: Float.self) { x in
      try targets.withUnsafePointer(to: Int32.self) { targets in
        blocks.forEach { _, rows in
          let first = rows.lowerBound
          kernels.cross_entropy(
            rows.count, classes, x + first * classes, targets + first, losses + first,
            logSumExps.base + first)
        }
      }
    }
  }
  let mean = try (losses * weights).sum()
  return mean.recorded(from: [logits]) { gradient in
    let g = try weights * gradient
    return [
      try Tensor.filling(x.shape, as: Float.self) { dx in
        try x.withUnsafePointer(to: Float.self) { x in
          try g.withUnsafePointer(to: Float.self) { g in
            try targets.withUnsafePointer(to: Int32.self) { targets in
              blocks.forEach { _, rows in
                let first = rows.lowerBound
                kernels.cross_entropy_backward(
                  rows.count, classes, x + first * classes, targets + first,
                  logSumExps.base + first, g + first, dx + first * classes)
              }
            }
          }
        }
      }
    ]
  }
}
