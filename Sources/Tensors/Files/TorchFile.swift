import AttentionCUDA

/// A file of `torch.save` with a dictionary of tensors, such as a `.pth` of a model's weights.
///
/// Opening reads the names; a tensor's bytes are read on request. Nothing of the file is executed.
///
///     let file = try TorchFile(path: "RWKV-x070-World-0.1B.pth")
///     let weight = try file.tensor(named: "emb.weight")
public struct TorchFile: Sendable {
  public let path: String
  /// The names of the tensors in the order of the dictionary.
  public let names: [String]
  private let file: RegularFile
  private let places: [String: Place]

  private struct Place {
    let offset: Int
    let shape: Shape
    let dtype: DType
  }

  private static let mostPickleBytes = 1 << 26

  /// The types of storages.
  private static let dtypes: [String: DType] = [
    "torch FloatStorage": .float32, "torch HalfStorage": .float16,
    "torch BFloat16Storage": .bfloat16, "torch DoubleStorage": .float64,
    "torch IntStorage": .int32, "torch LongStorage": .int64, "torch BoolStorage": .bool,
  ]

  /// Opens the file and checks where its tensors are.
  ///
  /// - Throws: ``TensorError/file(path:reason:)`` if it cannot be read, is damaged, or holds anything else.
  public init(path: String) throws {
    self.path = path
    (file, names, places) = try TensorError.ofFile(path) {
      let file = try RegularFile(path: path)
      let archive = try TorchArchive(file)
      if let order = archive.place(of: "byteorder"), try file.bytes(order) != Array("little".utf8) {
        throw FileProblem("has its numbers in another byte order")
      }
      guard let program = archive.place(of: "data.pkl") else {
        throw FileProblem("is not an archive of PyTorch's: it has no data.pkl")
      }
      guard program.count <= Self.mostPickleBytes else {
        throw FileProblem("describes its tensors in \(program.count) bytes, more than any model")
      }
      let entries = try TorchPickle(file.bytes(program)).entries
      var places: [String: Place] = [:]
      for entry in entries {
        places[entry.name] = try Self.place(of: entry, in: archive)
      }
      return (file, entries.map(\.name), places)
    }
  }

  private static func place(of entry: TorchPickle.Entry, in archive: TorchArchive) throws -> Place {
    guard let dtype = dtypes[entry.element] else {
      throw FileProblem("has \"\(entry.name)\" of \(entry.element), which is not read")
    }
    guard let storage = archive.place(of: "data/" + entry.storage) else {
      throw FileProblem("has no elements of \"\(entry.name)\"")
    }
    let count = try entry.shape.validated(elementSize: dtype.size)
    let most = storage.count / dtype.size
    guard entry.offset <= most, count <= most - entry.offset else {
      throw FileProblem("is truncated: \"\(entry.name)\" has more elements than its storage")
    }
    return Place(
      offset: storage.lowerBound + entry.offset * dtype.size, shape: entry.shape, dtype: dtype)
  }

  /// The shape of a tensor; nil if there is none of this name.
  public func shape(of name: String) -> Shape? { places[name]?.shape }

  /// - Throws: ``TensorError/file(path:reason:)`` if there is no such tensor or it cannot be read.
  public func dtype(of name: String) throws -> DType { try place(name).dtype }

  /// - Throws: ``TensorError/file(path:reason:)`` if there is no such tensor or it cannot be read,
  ///   ``TensorError/outOfMemory(requestedBytes:heldBytes:)`` if memory is exhausted.
  public func tensor(named name: String) throws -> Tensor {
    let place = try place(name)
    return try TensorError.ofFile(path) {
      try file.tensor(
        at: place.offset, shape: place.shape, dtype: place.dtype, name: "tensor \"\(name)\"")
    }
  }

  private func place(_ name: String) throws -> Place {
    guard let place = places[name] else {
      throw TensorError.file(path: path, reason: "has no tensor \"\(name)\"")
    }
    return place
  }
}
