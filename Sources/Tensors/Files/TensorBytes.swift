import AttentionCUDA

extension RegularFile {
  /// Reads the tensor whose elements start at `offset`; `name` stands for it in messages.
  ///
  /// - Throws: `FileProblem` if the elements cannot be read or a bool is neither 0 nor 1;
  ///   ``TensorError`` if memory is exhausted.
  func tensor(at offset: Int, shape: Shape, dtype: DType, name: String) throws -> Tensor {
    let count = try shape.validated(elementSize: dtype.size)
    return try Tensor.filling(shape, dtype: dtype) { target in
      let bytes = UnsafeMutableRawBufferPointer(start: target, count: count * dtype.size)
      try read(into: bytes, at: offset)
      if dtype == .bool, let index = bytes.firstIndex(where: { $0 > 1 }) {
        throw FileProblem(
          "element \(index) of \(name) is the byte \(bytes[index]); a bool must be 0 or 1")
      }
    }
  }
}

extension TensorError {
  /// Runs `body` and turns a `FileProblem` or ``MalformedHeader`` into an error about the file at `path`.
  static func ofFile<R>(_ path: String, _ body: () throws -> R) throws -> R {
    do { return try body() } catch let problem as FileProblem {
      throw TensorError.file(path: path, reason: problem.reason)
    } catch let problem as MalformedHeader {
      throw TensorError.file(path: path, reason: problem.reason)
    }
  }
}
