extension Tensor {
  /// The tensors concatenated along `axis`; all other extents and the dtype must agree.
  public static func concatenated(_ tensors: [Tensor], _ axis: Int) throws -> Tensor {
    guard let first = tensors.first else {
      throw TensorError.invalidArgument("tensors", was: "empty", mustBe: "at least one")
    }
    let axis = try first.shape.resolve(axis: axis)
    var dimensions = first.shape.dimensions
    for (index, tensor) in tensors.enumerated() {
      let agrees =
        tensor.rank == first.rank && tensor.dtype == first.dtype
        && tensor.shape.indices.allSatisfy { $0 == axis || tensor.shape[$0] == first.shape[$0] }
      guard agrees else {
        throw TensorError.invalidArgument(
          "tensors[\(index)]", was: "\(tensor.summary)",
          mustBe: "like \(first.summary) except on axis \(axis)")
      }
    }
    let sizes = tensors.map { $0.shape[axis] }
    dimensions[axis] = try sizes.reduce(0) { sum, size in
      let (next, overflows) = sum.addingReportingOverflow(size)
      guard !overflows else {
        throw TensorError.invalidArgument(
          "tensors", was: "of \(sizes) on axis \(axis)", mustBe: "of a sum that fits in 63 bits")
      }
      return next
    }
    let result = try joined(tensors.map { $0.detached() }, Shape(dimensions), axis)
    let devices = tensors.map(\.device)
    return result.recorded(from: tensors) { gradient, _ in
      try zip(gradient.split(axis, sizes: sizes), devices).map { try $0.moved(to: $1) }
    }
  }

  /// The tensors, all of one shape and dtype, stacked along a new axis before `axis` (counted in the
  /// result).
  public static func stacked(_ tensors: [Tensor], _ axis: Int = 0) throws -> Tensor {
    for (index, tensor) in tensors.enumerated()
    where tensor.shape != tensors[0].shape || tensor.dtype != tensors[0].dtype {
      throw TensorError.invalidArgument(
        "tensors[\(index)]", was: "\(tensor.summary)", mustBe: "like \(tensors[0].summary)")
    }
    return try concatenated(tensors.map { try $0.unsqueezed(axis) }, axis)
  }

  /// This tensor padded with zeros along `axis`.
  func zeroPadded(_ axis: Int, before: Int, after: Int) throws -> Tensor {
    if device != .cpu { return try zeroPaddedOnDevice(axis, before: before, after: after) }
    func zeros(_ count: Int) throws -> Tensor {
      var dimensions = shape.dimensions
      dimensions[axis] = count
      return try .zeros(Shape(dimensions), dtype: dtype)
    }
    return try .concatenated([zeros(before), self, zeros(after)], axis)
  }

  private func zeroPaddedOnDevice(_ axis: Int, before: Int, after: Int) throws -> Tensor {
    var dimensions = shape.dimensions
    dimensions[axis] += before + after
    let result = try Tensor.clearedOnDevice(Shape(dimensions), dtype: dtype, device: device)
    let own = before..<before + shape[axis]
    try copyElements(to: result.sliced(axis, own))
    return result.recorded(from: [self]) { gradient, _ in [try gradient.sliced(axis, own)] }
  }

  private static func joinedOnDevice(
    _ tensors: [Tensor], _ shape: Shape, _ axis: Int, _ device: Device
  ) throws -> Tensor {
    let result = try Tensor.onDevice(shape, dtype: tensors[0].dtype, device: device)
    var start = 0
    for tensor in tensors {
      let end = start + tensor.shape[axis]
      if tensor.elementCount > 0 {
        try tensor.moved(to: device).copyElements(to: result.sliced(axis, start..<end))
      }
      start = end
    }
    return result
  }

  private static func joined(_ tensors: [Tensor], _ shape: Shape, _ axis: Int) throws -> Tensor {
    let solid = tensors.filter { $0.elementCount > 0 }
    let device = try solid.isEmpty ? tensors[0].device : Tensor.device(of: solid, "concatenated")
    if device != .cpu { return try joinedOnDevice(tensors, shape, axis, device) }
    let size = tensors[0].dtype.size
    let inner = shape[(axis + 1)...].reduce(1, *) * size
    let outer = shape[..<axis].reduce(1, *)
    let rowBytes = shape[axis] * inner
    let sources = try tensors.map { try $0.contiguous() }
    let elements = try sources.map { try $0.hostElements() }
    return try Tensor.filling(shape, dtype: tensors[0].dtype) { target in
      Threads.forEachRows(outer, width: rowBytes / size) { rows in
        var place = target + rows.lowerBound * rowBytes
        for row in rows {
          for (source, elements) in zip(sources, elements) {
            let bytes = source.shape[axis] * inner
            place.copyMemory(from: elements.base + row * bytes, byteCount: bytes)
            place += bytes
          }
        }
      }
    }
  }
}
