extension Tensor {
  /// Rows of this [rows, width] tensor: `indices` (int32, any shape) → indices.shape + [width].
  ///
  /// The gradient adds rows in the order of the indices, so it is reproducible.
  ///
  /// Rows on a GPU may be gathered by indices on the CPU. Indices on a GPU are not checked: one out of range
  /// gives a row of NaN (of −1 for integer rows) and no gradient.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if an index on the CPU is out of range.
  public func gatheringRows(_ indices: Tensor) throws -> Tensor {
    guard rank == 2 else {
      throw TensorError.invalidArgument("shape", was: "\(shape)", mustBe: "[rows, width]")
    }
    guard indices.dtype == .int32 else {
      throw TensorError.invalidArgument("indices", was: indices.dtype.rawValue, mustBe: "int32")
    }
    let (rows, width) = (shape[0], shape[1])
    if indices.device != .cpu {
      _ = try Tensor.device(of: [self, indices], "gatheringRows")
      return try gatheredAndRecorded(indices.detached().contiguous())
    }
    let chosen = try indices.elements(as: Int32.self).map(Int.init)
    for (place, index) in chosen.enumerated() where index < 0 || index >= rows {
      throw TensorError.invalidArgument(
        "indices[\(place)]", was: "\(index)", mustBe: "in 0..<\(rows)")
    }
    if device != .cpu {
      return try gatheredAndRecorded(indices.detached().moved(to: device).contiguous())
    }
    let source = try detached().contiguous()
    let bytes = width * dtype.size
    let result = try Tensor.filling(Shape(indices.shape + [width]), dtype: dtype) { target in
      try source.withUnsafeRawPointer { base in
        for (place, index) in chosen.enumerated() {
          (target + place * bytes).copyMemory(from: base + index * bytes, byteCount: bytes)
        }
      }
    }
    return result.recorded(from: [self], gathering: indices.detached())
  }

  /// Rows gathered by indices on the same GPU.
  private func gatheredAndRecorded(_ indices: Tensor) throws -> Tensor {
    try detached().gatheredOnDevice(indices).recorded(from: [self], gathering: indices)
  }

  /// These rows, recorded as gathered from a table.
  private func recorded(from tables: [Tensor], gathering indices: Tensor) -> Tensor {
    let (rows, width) = (tables[0].shape[0], tables[0].shape[1])
    return recorded(from: tables) { g, _ in
      [try g.reshaped([indices.elementCount, width]).addingRows(to: indices, of: rows)]
    }
  }

  /// These rows, [count, width], added at `indices` into `rows` rows; half precision is accumulated in
  /// float32.
  private func addingRows(to indices: Tensor, of rows: Int) throws -> Tensor {
    let gradient = detached()
    let sums =
      if device != .cpu {
        try gradient.addingRowsOnDevice(to: indices, of: rows).cast(to: dtype)
      } else {
        try gradient.addingRows(to: indices.elements(as: Int32.self).map(Int.init), of: rows)
      }
    let places = try indices.reshaped([indices.elementCount])
    return sums.recorded(from: [self]) { g, _ in [try g.gatheringRows(places)] }
  }

  private func addingRows(to indices: [Int], of rows: Int) throws -> Tensor {
    if dtype == .float64 { return try addingRowsInFloat64(to: indices, of: rows) }
    let width = shape[1]
    let source = try cast(to: .float32).contiguous()
    let kernels = InstructionSet.current.kernels
    return try Tensor.filling([rows, width], as: Float.self) { target in
      target.update(repeating: 0, count: rows * width)
      try source.withUnsafePointer(to: Float.self) { source in
        for (place, index) in indices.enumerated() {
          kernels.axpy(width, 1, source + place * width, target + index * width)
        }
      }
    }.cast(to: dtype)
  }

  private func addingRowsInFloat64(to indices: [Int], of rows: Int) throws -> Tensor {
    let width = shape[1]
    let values = try elements(as: Double.self)
    var sums = [Double](repeating: 0, count: rows * width)
    for (place, index) in indices.enumerated() {
      for column in 0..<width { sums[index * width + column] += values[place * width + column] }
    }
    return try Tensor(sums, [rows, width])
  }
}
