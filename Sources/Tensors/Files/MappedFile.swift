import Glibc

/// The bytes of a file, read by the system when they are touched.
///
/// The mapping is private and read-only. A file that is replaced by renaming keeps its old bytes
/// here; one that is shortened in place while it is mapped must not be read any more.
final class MappedFile: @unchecked Sendable {
  let path: String
  let bytes: UnsafeRawBufferPointer

  /// - Throws: ``TensorError/file(path:reason:)``
  init(path: String) throws {
    self.path = path
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw TensorError.system(path, "cannot be opened") }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else {
      throw TensorError.system(path, "cannot be opened")
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw TensorError.file(path: path, reason: "is not a regular file")
    }
    guard status.st_size > 0 else {
      bytes = UnsafeRawBufferPointer(start: nil, count: 0)
      return
    }
    let size = Int(status.st_size)
    guard let base = mmap(nil, size, PROT_READ, MAP_PRIVATE, descriptor, 0), base != MAP_FAILED
    else { throw TensorError.system(path, "cannot be mapped") }
    bytes = UnsafeRawBufferPointer(start: base, count: size)
  }

  deinit {
    if let base = bytes.baseAddress {
      munmap(UnsafeMutableRawPointer(mutating: base), bytes.count)
    }
  }

  /// The tensor whose elements begin at `offset`: a view of the mapping, or a copy where the
  /// elements are not aligned to their size.
  ///
  /// - Throws: ``TensorError/file(path:reason:)`` if a bool is neither 0 nor 1.
  func tensor(at offset: Int, shape: Shape, dtype: DType, name: String) throws -> Tensor {
    let count = try shape.validated(elementSize: dtype.size)
    guard count > 0, let base = bytes.baseAddress.map({ $0 + offset }) else {
      return try Tensor.zeros(shape, dtype: dtype)
    }
    if dtype == .bool {
      let flags = UnsafeRawBufferPointer(start: base, count: count)
      if let index = flags.firstIndex(where: { $0 > 1 }) {
        throw TensorError.file(
          path: path,
          reason: "element \(index) of \(name) is the byte \(flags[index]); a bool must be 0 or 1")
      }
    }
    guard UInt(bitPattern: base) % UInt(dtype.size) == 0 else {
      return try Tensor.filling(shape, dtype: dtype) {
        $0.copyMemory(from: base, byteCount: count * dtype.size)
      }
    }
    return .borrowing(base, shape: shape, dtype: dtype, owner: self)
  }
}
