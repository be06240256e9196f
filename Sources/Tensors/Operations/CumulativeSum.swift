extension Tensor {
  /// The inclusive cumulative sum along `axis`; from the end if `reversed`.
  ///
  /// Integers wrap. On the CPU half precision is accumulated in float32 and float32 in float64; on a GPU
  /// elements are added in a tree whose depth is the logarithm of the length.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if there is no such axis, or the tensor is
  ///   bool.
  public func cumulativeSum(_ axis: Int, reversed: Bool = false) throws -> Tensor {
    let axis = try shape.resolve(axis: axis)
    guard dtype != .bool else {
      throw TensorError.invalidArgument(
        "operand of cumulativeSum", was: dtype.rawValue, mustBe: "a tensor of numbers")
    }
    if dtype.isHalfPrecision {
      return try cast(to: .float32).cumulativeSum(axis, reversed: reversed).cast(to: dtype)
    }
    let source = detached()
    let sums =
      try device == .cpu
      ? source.running(axis, reversed) : source.runningByDoubling(axis, reversed)
    return sums.recorded(from: [self]) { g, _ in
      [try g.cumulativeSum(axis, reversed: !reversed)]
    }
  }

  /// Each round adds the element twice as far away.
  private func runningByDoubling(_ axis: Int, _ reversed: Bool) throws -> Tensor {
    let extent = shape[axis]
    var sums = self
    var distance = 1
    while distance < extent {
      let rest = extent - distance
      let moved =
        try reversed
        ? sums.sliced(axis, distance..<extent).zeroPadded(axis, before: 0, after: distance)
        : sums.sliced(axis, 0..<rest).zeroPadded(axis, before: distance, after: 0)
      sums = try sums + moved
      distance *= 2
    }
    return sums
  }

  private func running(_ axis: Int, _ reversed: Bool) throws -> Tensor {
    switch dtype {
    case .float32:
      try running(axis, reversed, from: 0.0, { $0 + Double($1 as Float) }, { Float($0) })
    case .float64: try running(axis, reversed, from: 0.0, { $0 + ($1 as Double) }, { $0 })
    case .int32: try running(axis, reversed, from: Int32(0), { $0 &+ $1 }, { $0 })
    default: try running(axis, reversed, from: Int64(0), { $0 &+ $1 }, { $0 })
    }
  }

  private func running<Element: Scalar, Sum>(
    _ axis: Int, _ reversed: Bool, from zero: Sum, _ add: (Sum, Element) -> Sum,
    _ result: (Sum) -> Element
  ) throws -> Tensor {
    let source = try contiguous()
    let count = shape[axis]
    let inner = shape[(axis + 1)...].reduce(1, *)
    let columns = elementCount / Swift.max(1, count)
    return try Tensor.filling(shape, as: Element.self) { y in
      try source.withUnsafePointer(to: Element.self) { x in
        Threads.forEachRows(columns, width: count) { block in
          for column in block {
            let first = column / inner * count * inner + column % inner
            var sum = zero
            for number in 0..<count {
              let place = first + (reversed ? count - 1 - number : number) * inner
              sum = add(sum, x[place])
              y[place] = result(sum)
            }
          }
        }
      }
    }
  }
}
