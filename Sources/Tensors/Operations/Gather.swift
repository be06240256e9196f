extension Tensor {
  /// Rows of this [rows, width] tensor: `indices` (int32, any shape) → indices.shape + [width].
  ///
  /// The gradient adds rows in the order of the indices, so it is the same each time.
  ///
  /// Rows of a GPU may be gathered by indices of the processor. Indices on a GPU are not waited for:
  /// one out of range gives a row of NaN (of −1 where the rows are integers), and no gradient.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if an index that the processor has is
  ///   out of range.
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
    let dtype = dtype
    return result.recorded(from: [self]) { g in
      guard dtype != .float64 else {
        return [try g.reshaped([chosen.count, width]).addingRows(to: chosen, of: rows)]
      }
      let gradient = try g.cast(to: .float32).reshaped([chosen.count, width]).contiguous()
      let kernels = InstructionSet.current.kernels
      let total = try Tensor.filling([rows, width], as: Float.self) { target in
        target.update(repeating: 0, count: rows * width)
        try gradient.withUnsafePointer(to: Float.self) { source in
          for (place, index) in chosen.enumerated() {
            kernels.axpy(width, 1, source + place * width, target + index * width)
          }
        }
      }
      return [try total.cast(to: dtype)]
    }
  }

  /// Rows at indices on the same GPU.
  private func gatheredAndRecorded(_ indices: Tensor) throws -> Tensor {
    let (rows, width, dtype) = (shape[0], shape[1], dtype)
    return try detached().gatheredOnDevice(indices).recorded(from: [self]) { g in
      let gradient = try g.reshaped([indices.elementCount, width])
      return [try gradient.addingRowsOnDevice(to: indices, of: rows).cast(to: dtype)]
    }
  }

  /// The sum of these float64 rows at the places `indices` of `rows` rows.
  private func addingRows(to indices: [Int], of rows: Int) throws -> Tensor {
    let width = shape[1]
    let values = try elements(as: Double.self)
    var sums = [Double](repeating: 0, count: rows * width)
    for (place, index) in indices.enumerated() {
      for column in 0..<width { sums[index * width + column] += values[place * width + column] }
    }
    return try Tensor(sums, [rows, width])
  }
}
