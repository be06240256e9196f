/// Writes safetensors files; ``SafetensorsFile`` reads them.
public enum Safetensors {
  /// Writes `tensors` in the given order to the file at `path`, atomically (``AtomicFile``).
  ///
  /// Equal arguments give equal bytes: metadata is sorted by key, and the header is padded with
  /// spaces to align the data to eight bytes. Views are written block by block, without a second copy.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if a name appears twice or is
  ///   `__metadata__`, ``TensorError/file(path:reason:)`` if writing fails.
  public static func write(
    _ tensors: [(name: String, tensor: Tensor)], metadata: [String: String] = [:], to path: String
  ) throws {
    let header = try header(tensors, metadata)
    try AtomicFile.write(to: path) { writer in
      try withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { try writer.write($0) }
      try writer.write(header)
      for (_, tensor) in tensors { try tensor.forEachBlock { try writer.write($0) } }
    }
  }

  private static func header(
    _ tensors: [(name: String, tensor: Tensor)], _ metadata: [String: String]
  ) throws -> String {
    var names: Set<String> = [SafetensorsHeader.metadataKey]
    var members: [String] = []
    if !metadata.isEmpty {
      let pairs = metadata.sorted { $0.key < $1.key }.map { "\(quoted($0)):\(quoted($1))" }
      members.append("\(quoted(SafetensorsHeader.metadataKey)):{\(pairs.joined(separator: ","))}")
    }
    var offset = 0
    for (index, (name, tensor)) in tensors.enumerated() {
      guard names.insert(name).inserted else {
        throw TensorError.invalidArgument(
          "tensors[\(index)]", was: "named \"\(name)\"",
          mustBe: "named unlike the others and unlike \(SafetensorsHeader.metadataKey)")
      }
      let end = offset + tensor.byteCount
      let shape = tensor.shape.map(String.init).joined(separator: ",")
      members.append(
        "\(quoted(name)):{\"dtype\":\"\(tensor.dtype.safetensorsName)\",\"shape\":[\(shape)],"
          + "\"data_offsets\":[\(offset),\(end)]}")
      offset = end
    }
    let text = "{\(members.joined(separator: ","))}"
    let alignment = 8
    let length = text.utf8.count.rounded(up: alignment)
    guard length <= SafetensorsHeader.lengthLimit else {
      throw TensorError.invalidArgument(
        "tensors", was: "named and described in \(length) bytes",
        mustBe: "described in at most \(SafetensorsHeader.lengthLimit) bytes")
    }
    return text + String(repeating: " ", count: length - text.utf8.count)
  }

  /// `text` as a JSON string.
  private static func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\u{0}"..<"\u{20}":
        let digits = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}

extension Tensor {
  /// Approximate size of the blocks in which views, and below GPU tensors, are copied, in bytes.
  private static let blockSize = 1 << 20
  private static let deviceBlockSize = 1 << 26

  /// Calls `body` with the bytes of the elements in row-major order, block by block: contiguous CPU tensors
  /// and small ones as one block, others as copies of some rows at a time.
  func forEachBlock(_ body: (UnsafeRawBufferPointer) throws -> Void) throws {
    let blockSize = device == .cpu ? Self.blockSize : Self.deviceBlockSize
    if (isContiguous && device == .cpu) || byteCount <= blockSize || rank == 0 {
      let source = try detached().moved(to: .cpu).contiguous()
      return try source.withUnsafeRawPointer {
        try body(UnsafeRawBufferPointer(start: $0, count: byteCount))
      }
    }
    let rowSize = byteCount / shape[0]
    let rows = max(1, blockSize / rowSize)
    for first in stride(from: 0, to: shape[0], by: rows) {
      let block = try detached().sliced(0, first..<min(shape[0], first + rows))
      // A single row may still be large: it is split along its own first axis.
      try (rows == 1 ? block.squeezed(0) : block).forEachBlock(body)
    }
  }
}
