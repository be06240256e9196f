import AttentionCUDA

/// A safetensors file opened for reading.
///
/// Opening reads and checks the header; a tensor's bytes are read on request.
///
///     let file = try SafetensorsFile(path: "model.safetensors")
///     let weight = try file.tensor(named: "embedding.weight")
public struct SafetensorsFile: Sendable {
  public let path: String
  /// The contents of the file's `__metadata__`.
  public let metadata: [String: String]
  /// The names of the tensors in the order of the header.
  public let names: [String]

  private let file: RegularFile
  private let places: [String: Place]

  private struct Place {
    let offset: Int
    let shape: Shape
    let element: String
  }

  /// Opens the file at `path` and validates its header.
  ///
  /// - Throws: ``TensorError/file(path:reason:)`` if the file cannot be read, is truncated, or does not
  ///   follow the format.
  public init(path: String) throws {
    let (file, header) = try TensorError.ofFile(path) {
      let file = try RegularFile(path: path)
      return (file, try SafetensorsHeader(of: file))
    }
    self.path = path
    self.file = file
    metadata = header.metadata
    names = header.entries.map(\.name)
    places = Dictionary(
      uniqueKeysWithValues: header.entries.map { entry in
        let offset = header.dataOffset + entry.range.lowerBound
        return (entry.name, Place(offset: offset, shape: entry.shape, element: entry.element))
      })
  }

  /// Whether the file has a tensor of this name.
  public func contains(_ name: String) -> Bool { places[name] != nil }

  /// The shape of a tensor, without reading its bytes.
  public func shape(named name: String) throws -> Shape { try place(name).shape }

  /// The dtype of a tensor, without reading its bytes.
  public func dtype(named name: String) throws -> DType { try dtype(name, place(name)) }

  /// Reads the tensor `name`.
  ///
  /// - Throws: ``TensorError/file(path:reason:)`` if there is no such tensor, its element type is not a
  ///   ``DType``, or the file was truncated since it was opened;
  ///   ``TensorError/outOfMemory(requestedBytes:heldBytes:)`` if memory is exhausted.
  public func tensor(named name: String) throws -> Tensor {
    let place = try place(name)
    let dtype = try dtype(name, place)
    return try TensorError.ofFile(path) {
      try file.tensor(
        at: place.offset, shape: place.shape, dtype: dtype, name: "tensor \"\(name)\"")
    }
  }

  private func place(_ name: String) throws -> Place {
    guard let place = places[name] else {
      throw TensorError.file(path: path, reason: "has no tensor \"\(name)\"")
    }
    return place
  }

  private func dtype(_ name: String, _ place: Place) throws -> DType {
    guard let dtype = DType.allCases.first(where: { $0.safetensorsName == place.element }) else {
      throw TensorError.file(
        path: path,
        reason: "tensor \"\(name)\" is of \(place.element); it must be one of "
          + DType.allCases.map(\.safetensorsName).joined(separator: ", "))
    }
    return dtype
  }
}

extension DType {
  /// The name of this type in safetensors files.
  var safetensorsName: String {
    switch self {
    case .float32: "F32"
    case .bfloat16: "BF16"
    case .float16: "F16"
    case .float64: "F64"
    case .int32: "I32"
    case .int64: "I64"
    case .bool: "BOOL"
    }
  }
}
