extension Tensor {
  /// A view of the same storage.
  private func view(_ shape: Shape, _ strides: [Int], offset: Int? = nil) -> Tensor {
    Tensor(
      storage: storage, shape: shape, strides: strides, offset: offset ?? self.offset, dtype: dtype)
  }

  /// A view with two axes exchanged.
  public func transposed(_ first: Int = -2, _ second: Int = -1) throws -> Tensor {
    let a = try shape.resolve(axis: first)
    let b = try shape.resolve(axis: second)
    var order = Array(0..<rank)
    order.swapAt(a, b)
    return try permuted(order)
  }

  /// A view whose axis i is this tensor's axis `order[i]`.
  public func permuted(_ order: [Int]) throws -> Tensor {
    guard order.sorted() == Array(0..<rank) else {
      throw TensorError.invalidArgument(
        "order", was: "\(order)", mustBe: "each of the axes of \(shape) once")
    }
    var inverse = order
    for (to, from) in order.enumerated() { inverse[from] = to }
    return view(Shape(order.map { shape[$0] }), order.map { strides[$0] })
      .recorded(from: [self]) { [inverse] gradient, _ in [try gradient.permuted(inverse)] }
  }

  /// A view of the elements `range` along `axis`.
  public func sliced(_ axis: Int, _ range: Range<Int>) throws -> Tensor {
    let axis = try shape.resolve(axis: axis)
    let extent = shape[axis]
    guard range.lowerBound >= 0, range.upperBound <= extent else {
      throw TensorError.invalidArgument("range", was: "\(range)", mustBe: "within 0..<\(extent)")
    }
    var dimensions = shape.dimensions
    dimensions[axis] = range.count
    return view(
      Shape(dimensions), strides, offset: offset + range.lowerBound * strides[axis]
    ).recorded(from: [self]) { gradient, _ in
      [try gradient.zeroPadded(axis, before: range.lowerBound, after: extent - range.upperBound)]
    }
  }

  /// The view at `index` along `axis`, without that axis.
  public func selected(_ axis: Int, _ index: Int) throws -> Tensor {
    let axis = try shape.resolve(axis: axis)
    guard index >= 0, index < shape[axis] else {
      throw TensorError.invalidArgument("index", was: "\(index)", mustBe: "in 0..<\(shape[axis])")
    }
    return try sliced(axis, index..<index + 1).squeezed(axis)
  }

  /// Pieces of the given sizes along `axis`, as views.
  public func split(_ axis: Int, sizes: [Int]) throws -> [Tensor] {
    let axis = try shape.resolve(axis: axis)
    let extent = shape[axis]
    guard sizes.allSatisfy({ $0 >= 0 }), sizes.reduce(0, +) == extent else {
      throw TensorError.invalidArgument(
        "sizes", was: "\(sizes)", mustBe: "at least 0 with the sum \(extent)")
    }
    var start = 0
    let pieces = try sizes.map { size in
      defer { start += size }
      return try detached().sliced(axis, start..<start + size)
    }
    let (shapes, dtype, device) = (pieces.map(\.shape), dtype, device)
    // One record for all pieces, so that their gradients are concatenated once.
    return Tensor.recording(pieces, from: [self]) { gradients, _ in
      let parts = try zip(gradients, shapes).map {
        try $0 ?? .zeros($1, dtype: dtype, device: device)
      }
      return [try .concatenated(parts, axis)]
    }
  }

  /// A view with a new axis of extent one before `axis` (counted in the result).
  public func unsqueezed(_ axis: Int) throws -> Tensor {
    let resolved = axis < 0 ? axis + rank + 1 : axis
    guard resolved >= 0, resolved <= rank else {
      throw TensorError.invalidArgument("axis", was: "\(axis)", mustBe: "in \(-rank - 1)...\(rank)")
    }
    var dimensions = shape.dimensions
    var newStrides = strides
    dimensions.insert(1, at: resolved)
    newStrides.insert(0, at: resolved)
    return view(Shape(dimensions), newStrides)
      .recorded(from: [self]) { gradient, _ in [try gradient.squeezed(resolved)] }
  }

  /// A view without `axis`, whose extent must be one.
  public func squeezed(_ axis: Int) throws -> Tensor {
    let axis = try shape.resolve(axis: axis)
    guard shape[axis] == 1 else {
      throw TensorError.invalidArgument("axis", was: "\(axis) of \(shape)", mustBe: "of extent 1")
    }
    var dimensions = shape.dimensions
    var newStrides = strides
    dimensions.remove(at: axis)
    newStrides.remove(at: axis)
    return view(Shape(dimensions), newStrides)
      .recorded(from: [self]) { gradient, _ in [try gradient.unsqueezed(axis)] }
  }

  /// A view without the axes of extent one.
  public func squeezed() throws -> Tensor { try reshaped(Shape(shape.filter { $0 != 1 })) }

  /// A view that repeats axes of extent one and adds leading axes to match `target`.
  public func expanded(to target: Shape) throws -> Tensor {
    _ = try target.validated(elementSize: dtype.size)
    let added = target.rank - rank
    guard added >= 0,
      (0..<rank).allSatisfy({ shape[$0] == target[$0 + added] || shape[$0] == 1 })
    else {
      throw TensorError.invalidArgument(
        "shape", was: "\(shape)", mustBe: "equal to \(target) or one on every axis from the last")
    }
    if shape == target { return self }
    let newStrides =
      [Int](repeating: 0, count: added)
      + (0..<rank).map { shape[$0] == target[$0 + added] ? strides[$0] : 0 }
    let own = shape
    return view(target, newStrides).recorded(from: [self]) { gradient, _ in
      [try gradient.summed(to: own)]
    }
  }

  /// The same elements in row-major order with another shape: a view if the strides allow one, otherwise a
  /// copy. One extent may be −1 and is inferred from the others.
  public func reshaped(_ target: Shape) throws -> Tensor {
    let resolved = try resolve(reshape: target)
    if resolved == shape { return self }
    let own = shape
    let source = detached()
    let result: Tensor
    if let newStrides = source.strides(reshapedTo: resolved) {
      result = source.view(resolved, newStrides)
    } else {
      result = try source.contiguous().view(resolved, resolved.contiguousStrides, offset: 0)
    }
    return result.recorded(from: [self]) { gradient, _ in [try gradient.reshaped(own)] }
  }

  private func resolve(reshape target: Shape) throws -> Shape {
    var dimensions = target.dimensions
    let unknown = dimensions.indices.filter { dimensions[$0] == -1 }
    if unknown.count == 1 {
      dimensions[unknown[0]] = 1
      if let known = try? Shape(dimensions).validated(elementSize: 1), known > 0 {
        // If this does not divide, the count below reports it.
        dimensions[unknown[0]] = elementCount / known
      }
    }
    guard (try? Shape(dimensions).validated(elementSize: dtype.size)) == elementCount else {
      throw TensorError.invalidArgument(
        "shape", was: "\(target)", mustBe: "of \(elementCount) elements, as \(shape) has")
    }
    return Shape(dimensions)
  }

  /// Strides that present these elements as `target`; nil if there are none.
  private func strides(reshapedTo target: Shape) -> [Int]? {
    if isContiguous { return target.contiguousStrides }
    guard elementCount > 0 else { return target.contiguousStrides }
    // Runs of axes with a common stride can be split anew; a target axis must not cross two runs.
    var result = [Int](repeating: 0, count: target.rank)
    var to = target.rank - 1
    var from = rank - 1
    while from >= 0 {
      var run = shape[from]
      let runStride = strides[from]
      while from > 0, shape[from - 1] == 1 || strides[from - 1] == runStride * run {
        from -= 1
        run *= shape[from]
      }
      from -= 1
      var step = runStride
      while to >= 0, run % target[to] == 0, run > 1 || target[to] == 1 {
        result[to] = step
        step *= target[to]
        run /= target[to]
        to -= 1
      }
      if run != 1 { return nil }
    }
    return to < 0 || target[...to].allSatisfy { $0 == 1 } ? result : nil
  }

  /// This tensor if it is contiguous, otherwise a contiguous copy.
  public func contiguous() throws -> Tensor {
    if isContiguous { return self }
    return try detached().copied().recorded(from: [self]) { gradient, _ in [gradient] }
  }

  /// A contiguous copy.
  package func copied() throws -> Tensor {
    if isPlaceholder { return try .placeholder(shape, dtype: dtype, device: device) }
    if device != .cpu { return try copiedOnDevice() }
    return try Tensor.filling(shape, dtype: dtype) {
      try copyElements(to: $0, strides: shape.contiguousStrides)
    }
  }

  /// Writes the elements of a CPU tensor to `target` with the given strides.
  func copyElements(to target: UnsafeMutableRawPointer, strides: [Int]) throws {
    let loop = StridedLoop(shape: shape, strides: [strides, self.strides])
    try withUnsafeRawPointer { source in
      switch dtype.size {
      case 1: loop.copy(UInt8.self, target, source)
      case 2: loop.copy(UInt16.self, target, source)
      case 4: loop.copy(UInt32.self, target, source)
      default: loop.copy(UInt64.self, target, source)
      }
    }
  }
}

extension StridedLoop {
  /// Copies operand 1 to operand 0.
  fileprivate func copy<T>(
    _ type: T.Type, _ target: UnsafeMutableRawPointer, _ source: UnsafeRawPointer
  ) {
    let target = target.assumingMemoryBound(to: T.self)
    let source = source.assumingMemoryBound(to: T.self)
    let (to, from) = (rowStrides[0], rowStrides[1])
    forEachPiece { length, offsets in
      let y = target + offsets[0]
      let x = source + offsets[1]
      if to == 1, from == 1 {
        y.update(from: x, count: length)
      } else {
        for i in 0..<length { y[i * to] = x[i * from] }
      }
    }
  }
}
