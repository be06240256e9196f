import AttentionCPUKernels

extension Tensor {
  /// The sum over `axes` (all if nil), which keep extent one if `keepsAxes`.
  ///
  /// Half precision is accumulated in float32. The order of summation depends on the shape only.
  public func sum(_ axes: [Int]? = nil, keepsAxes: Bool = false) throws -> Tensor {
    let reduced = try ReducedAxes(axes, of: shape, keepsAxes: keepsAxes)
    if device != .cpu { return try summedOnDevice(reduced, factor: 1) }
    var total = detached()
    // Adjacent axes are summed together, from the last to the first.
    var axis = rank - 1
    while axis >= 0 {
      guard reduced.axes.contains(axis) else {
        axis -= 1
        continue
      }
      var first = axis
      while first > 0, reduced.axes.contains(first - 1) { first -= 1 }
      total = try total.summed(axes: first...axis)
      axis = first - 1
    }
    let own = shape
    return try total.reshaped(reduced.result).recorded(from: [self]) { g, _ in
      [try g.reshaped(reduced.kept).expanded(to: own)]
    }
  }

  /// The mean over `axes` (all if nil).
  public func mean(_ axes: [Int]? = nil, keepsAxes: Bool = false) throws -> Tensor {
    // The sum may overflow half precision where the mean does not.
    if dtype.isHalfPrecision, device == .cpu {
      return try cast(to: .float32).mean(axes, keepsAxes: keepsAxes).cast(to: dtype)
    }
    let reduced = try ReducedAxes(axes, of: shape, keepsAxes: keepsAxes)
    let factor = Double(max(1, reduced.result.elementCount)) / Double(max(1, elementCount))
    if device != .cpu { return try summedOnDevice(reduced, factor: factor) }
    return try sum(axes, keepsAxes: keepsAxes) * factor
  }

  /// The sum times `factor`, by one kernel.
  private func summedOnDevice(_ reduced: ReducedAxes, factor: Double) throws -> Tensor {
    let own = shape
    return try detached().summedOnDevice(reduced.axes, factor: factor).reshaped(reduced.result)
      .recorded(from: [self]) { g, _ in
        let gradient = try g.reshaped(reduced.kept)
        return [try (factor == 1 ? gradient : gradient * factor).expanded(to: own)]
      }
  }

  /// The reduced axes, and the resulting shapes.
  private struct ReducedAxes {
    let axes: Set<Int>
    /// With the axes at extent one.
    let kept: Shape
    let result: Shape

    init(_ axes: [Int]?, of shape: Shape, keepsAxes: Bool) throws {
      let resolved = try Set((axes ?? Array(0..<shape.rank)).map { try shape.resolve(axis: $0) })
      self.axes = resolved
      kept = Shape(shape.indices.map { resolved.contains($0) ? 1 : shape[$0] })
      result =
        keepsAxes ? kept : Shape(shape.indices.filter { !resolved.contains($0) }.map { shape[$0] })
    }
  }

  /// The sum over the axes that broadcasting from `target` added or repeated.
  func summed(to target: Shape) throws -> Tensor {
    if shape == target { return self }
    let added = rank - target.rank
    let repeated = (0..<rank).filter { $0 < added || (target[$0 - added] == 1 && shape[$0] != 1) }
    return try sum(repeated, keepsAxes: true).reshaped(target)
  }

  /// The sum over adjacent axes, each kept with extent one. Not recorded on the tape.
  private func summed(axes: ClosedRange<Int>) throws -> Tensor {
    if dtype.isHalfPrecision {
      return try cast(to: .float32).summed(axes: axes).cast(to: dtype)
    }
    guard dtype == .float32 || dtype == .float64 else {
      throw TensorError.invalidArgument(
        "operand of sum", was: dtype.rawValue, mustBe: "a floating-point tensor")
    }
    let source = try contiguous()
    let outer = shape[..<axes.lowerBound].reduce(1, *)
    let count = shape[axes].reduce(1, *)
    let inner = shape[(axes.upperBound + 1)...].reduce(1, *)
    let result = Shape(shape.indices.map { axes.contains($0) ? 1 : shape[$0] })
    let kernels = InstructionSet.current.kernels
    if dtype == .float64 {
      return try Tensor.filling(result, as: Double.self) { target in
        try source.withUnsafePointer(to: Double.self) { x in
          for o in 0..<outer {
            for i in 0..<inner {
              var total = 0.0
              for c in 0..<count { total += x[(o * count + c) * inner + i] }
              target[o * inner + i] = total
            }
          }
        }
      }
    }
    return try Tensor.filling(result, as: Float.self) { target in
      try source.withUnsafePointer(to: Float.self) { x in
        if inner == 1 {
          try sumRows(x, rows: outer, count: count, target, kernels)
        } else {
          try sumColumns(x, outer: outer, count: count, inner: inner, target, kernels)
        }
      }
    }
  }
}

/// Sums of rows. Long rows are summed in pieces, then the sums of the pieces, which keeps the rounding error
/// small and every thread busy.
private func sumRows(
  _ x: UnsafePointer<Float>, rows: Int, count: Int, _ target: UnsafeMutablePointer<Float>,
  _ kernels: cpu_kernels
) throws {
  let length = Threads.pieceLength
  guard count > length else {
    Threads.forEachRows(rows, width: count) { block in
      for row in block { target[row] = kernels.sum(count, x + row * count) }
    }
    return
  }
  let pieces = count.pieces(of: length)
  let partial = try Scratch(floats: rows * pieces)
  Threads.forEach(rows * pieces) { task in
    let first = task % pieces * length
    partial.base[task] = kernels.sum(
      min(length, count - first), x + task / pieces * count + first)
  }
  try sumRows(partial.base, rows: rows, count: pieces, target, kernels)
}

/// Sums down columns: x is [outer, count, inner], the result [outer, inner]. Many rows are summed in
/// blocks, then the sums of the blocks, as in ``sumRows(_:rows:count:_:_:)``.
private func sumColumns(
  _ x: UnsafePointer<Float>, outer: Int, count: Int, inner: Int,
  _ target: UnsafeMutablePointer<Float>, _ kernels: cpu_kernels
) throws {
  let (blockRows, width) = (128, 256)
  let blocks = max(1, count.pieces(of: blockRows))
  let strips = inner.pieces(of: width)
  let partial = blocks > 1 ? try Scratch(floats: outer * blocks * inner) : nil
  let sums = partial?.base ?? target
  Threads.forEach(outer * blocks * strips) { task in
    let first = task % strips * width
    let columns = min(width, inner - first)
    let (o, block) = (task / strips / blocks, task / strips % blocks)
    let y = sums + task / strips * inner + first
    y.update(repeating: 0, count: columns)
    for row in block * blockRows..<min(count, (block + 1) * blockRows) {
      kernels.axpy(columns, 1, x + (o * count + row) * inner + first, y)
    }
  }
  if let partial {
    try sumColumns(partial.base, outer: outer, count: blocks, inner: inner, target, kernels)
  }
}
