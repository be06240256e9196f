extension Tensor {
  /// The tensors one behind the other along `axis`; all other extents and the dtype agree.
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
          "tensors[\(index)]", was: "\(tensor)", mustBe: "like \(first) except on axis \(axis)")
      }
    }
    let sizes = tensors.map { $0.shape[axis] }
    dimensions[axis] = sizes.reduce(0, +)
    let result = try joined(tensors.map { $0.detached() }, Shape(dimensions), axis)
    return result.recorded(from: tensors) { try $0.split(axis, sizes: sizes) }
  }

  /// This tensor between zeros along `axis`. Not recorded.
  func zeroPadded(_ axis: Int, before: Int, after: Int) throws -> Tensor {
    func zeros(_ count: Int) throws -> Tensor {
      var dimensions = shape.dimensions
      dimensions[axis] = count
      return try .zeros(Shape(dimensions), dtype: dtype, device: device)
    }
    return try .concatenated([zeros(before), self, zeros(after)], axis)
  }

  private static func joined(_ tensors: [Tensor], _ shape: Shape, _ axis: Int) throws -> Tensor {
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
