import AttentionCUDA

/// Arrays in NumPy's `.npy` files, versions 1 to 3, little-endian.
///
/// Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
public enum NumPyFile {
  private static let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)
  /// The data's alignment in the file, in bytes.
  private static let alignment = 64
  /// More than any array's header needs, so that a damaged length cannot exhaust memory.
  private static let headerLimit = 1 << 20

  /// The array in the file at `path`; a transposed view if the file is in Fortran order.
  ///
  /// - Throws: ``TensorError/file(path:reason:)`` if the file cannot be read, is truncated, is not a
  ///   `.npy` file, or its element type is not a ``DType``.
  public static func read(_ path: String) throws -> Tensor {
    try TensorError.ofFile(path) { try read(RegularFile(path: path)) }
  }

  /// Writes `tensor` in C order to the file at `path`, atomically (``AtomicFile``).
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` for bfloat16, which the format lacks,
  ///   ``TensorError/file(path:reason:)`` if writing fails.
  public static func write(_ tensor: Tensor, to path: String) throws {
    guard let description = tensor.dtype.numPyDescription else {
      throw TensorError.invalidArgument(
        "dtype", was: tensor.dtype.rawValue,
        mustBe: "one that .npy files have (cast to float32 first, or write safetensors)")
    }
    let extents = tensor.shape.map { "\($0)," }.joined(separator: " ")
    // A Python tuple of one keeps its comma; longer ones drop the last.
    let shape = tensor.rank > 1 ? String(extents.dropLast()) : extents
    var text = "{'descr': '\(description)', 'fortran_order': False, 'shape': (\(shape)), }"
    let prefix = magic.count + 4
    let length = (prefix + text.utf8.count + 1 + alignment - 1) / alignment * alignment
    text += String(repeating: " ", count: length - prefix - text.utf8.count - 1) + "\n"
    let size = UInt16(text.utf8.count)
    let start = magic + [1, 0, UInt8(size & 0xFF), UInt8(size >> 8)]
    try AtomicFile.write(to: path) { writer in
      try start.withUnsafeBytes { try writer.write($0) }
      try writer.write(text)
      try tensor.forEachBlock { try writer.write($0) }
    }
  }

  private static func read(_ file: RegularFile) throws -> Tensor {
    let start = try file.bytes(0..<min(file.size, magic.count + 2 + 4))
    guard start.count >= magic.count + 2, start.starts(with: magic) else {
      throw MalformedHeader(reason: "is not a .npy file")
    }
    let version = Int(start[magic.count])
    guard 1...3 ~= version else {
      throw MalformedHeader(reason: "has the .npy version \(version); it must be 1, 2 or 3")
    }
    let lengthSize = version == 1 ? 2 : 4
    let textOffset = magic.count + 2 + lengthSize
    guard start.count >= textOffset else {
      throw MalformedHeader(reason: "is truncated: its header has no length")
    }
    let length = start[(magic.count + 2)..<textOffset].reversed().reduce(0) { $0 << 8 | Int($1) }
    guard length <= headerLimit else {
      throw MalformedHeader(
        reason: "its header has \(length) bytes; it must have at most \(headerLimit)")
    }
    guard length <= file.size - textOffset else {
      throw MalformedHeader(
        reason: "is truncated: its header has \(length) bytes, but "
          + "\(file.size - textOffset) follow")
    }
    let offset = textOffset + length
    let header = try file.bytes(textOffset..<offset).withUnsafeBytes { try Header($0) }
    guard let count = try? header.shape.validated(elementSize: header.dtype.size) else {
      throw MalformedHeader(reason: "has the impossible shape \(header.shape)")
    }
    guard count * header.dtype.size == file.size - offset else {
      let what = file.size - offset < count * header.dtype.size ? "is truncated" : "is too long"
      throw MalformedHeader(
        reason: "\(what): \(file.size - offset) bytes of data; \(header.dtype.rawValue) of shape "
          + "\(header.shape) takes \(count * header.dtype.size)")
    }
    // In Fortran order the first axis is contiguous: this is the reversed shape in C order.
    let stored = header.isFortranOrder ? Shape(header.shape.reversed()) : header.shape
    let tensor = try file.tensor(at: offset, shape: stored, dtype: header.dtype, name: "the array")
    return header.isFortranOrder ? try tensor.permuted(stored.indices.reversed()) : tensor
  }

  /// The dictionary at the front of the file.
  private struct Header {
    let dtype: DType
    let isFortranOrder: Bool
    let shape: Shape

    init(_ text: UnsafeRawBufferPointer) throws {
      var scanner = HeaderScanner(text)
      var (dtype, isFortranOrder, shape): (DType?, Bool?, [Int]?) = (nil, nil, nil)
      try scanner.expect("{")
      while !scanner.skip("}") {
        let key = try scanner.string(quote: "'")
        try scanner.expect(":")
        switch key {
        case "descr": dtype = try Self.dtype(scanner.string(quote: "'"))
        case "fortran_order":
          guard let value = ["True": true, "False": false][scanner.word()] else {
            throw scanner.unexpected("after True or False")
          }
          isFortranOrder = value
        case "shape": shape = try scanner.tuple()
        default: throw MalformedHeader(reason: "its header has the unknown key '\(key)'")
        }
        if scanner.skip(",") { continue }
        try scanner.expect("}")
        break
      }
      guard scanner.isAtEnd() else { throw scanner.unexpected("white space") }
      guard let dtype, let isFortranOrder, let shape else {
        throw MalformedHeader(reason: "its header lacks one of descr, fortran_order and shape")
      }
      (self.dtype, self.isFortranOrder, self.shape) = (dtype, isFortranOrder, Shape(shape))
    }

    private static func dtype(_ description: String) throws -> DType {
      guard let dtype = DType.allCases.first(where: { $0.numPyDescription == description }) else {
        throw MalformedHeader(
          reason: "its elements are '\(description)'; they must be one of "
            + DType.allCases.compactMap(\.numPyDescription).joined(separator: ", "))
      }
      return dtype
    }
  }
}

extension DType {
  /// The name of this type in `.npy` files; nil if the format lacks it.
  fileprivate var numPyDescription: String? {
    switch self {
    case .float32: "<f4"
    case .bfloat16: nil
    case .float16: "<f2"
    case .float64: "<f8"
    case .int32: "<i4"
    case .int64: "<i8"
    case .bool: "|b1"
    }
  }
}

extension HeaderScanner {
  /// A Python tuple of integers.
  fileprivate mutating func tuple() throws -> [Int] {
    try expect("(")
    var values: [Int] = []
    while !skip(")") {
      values.append(try integer())
      if skip(",") { continue }
      try expect(")")
      break
    }
    return values
  }
}
