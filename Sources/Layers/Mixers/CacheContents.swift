import AttentionTensors

/// What a cache holds, as a file can keep it.
public struct CacheContents: Sendable {
  /// How many tokens have been read.
  public var tokenCount: Int
  /// By names that the kind of cache has for them; each begins with the batch's axis.
  public var tensors: [String: Tensor]

  public init(tokenCount: Int, tensors: [String: Tensor]) {
    self.tokenCount = tokenCount
    self.tensors = tensors
  }

  /// - Throws: ``LayerError/invalidArgument(_:was:mustBe:)`` unless exactly these tensors are there.
  func require(names: some Collection<String>) throws {
    guard tensors.keys.sorted() == names.sorted() else {
      throw LayerError.invalidArgument(
        "contents", was: "of \(tensors.keys.sorted())", mustBe: "of \(names.sorted())")
    }
  }

  /// A tensor with the shape and dtype of `example`, the number of its rows excepted.
  ///
  /// - Parameters:
  ///   - name: of the tensor.
  ///   - rows: how long its second axis must be; nil if it has no rows.
  ///   - example: the tensor of that name in a cache of the same mixer.
  /// - Throws: ``LayerError/invalidArgument(_:was:mustBe:)``.
  func tensor(_ name: String, rows: Int? = nil, like example: Tensor) throws -> Tensor {
    var dimensions = example.shape.dimensions
    if let rows { dimensions[1] = rows }
    guard let tensor = tensors[name], tensor.shape == Shape(dimensions),
      tensor.dtype == example.dtype
    else {
      throw LayerError.invalidArgument(
        name, was: tensors[name]?.summary ?? "missing",
        mustBe: "\(example.dtype.rawValue) \(Shape(dimensions))")
    }
    return try tensor.moved(to: example.device)
  }
}

/// A cache that can be written to a file and read again.
public protocol StorableMixerCache: MixerCache {
  /// What it holds.
  func contents() throws -> CacheContents

  /// A cache with other contents.
  ///
  /// - Parameter contents: those of a cache of the same mixer. Their shapes and dtypes are compared with those of
  ///   this cache, which has read a token.
  /// - Throws: ``LayerError/invalidArgument(_:was:mustBe:)`` if the contents do not fit.
  func restored(from contents: CacheContents) throws -> Self
}

extension KeyValueCache: StorableMixerCache {
  public func contents() throws -> CacheContents {
    var tensors: [String: Tensor] = [:]
    tensors["keys"] = try keys?.tensor()
    tensors["values"] = try values?.tensor()
    tensors["mask"] = try mask?.tensor()
    return CacheContents(tokenCount: tokenCount, tensors: tensors)
  }

  public func restored(from contents: CacheContents) throws -> KeyValueCache {
    let own = try self.contents().tensors
    try contents.require(names: own.keys)
    guard let ownKeys = own["keys"], let ownValues = own["values"], own["mask"] == nil else {
      throw LayerError.invalidArgument(
        "cache", was: "empty or with padding", mustBe: "one that has read a token, no padding")
    }
    let rows = min(contents.tokenCount, window.map { $0 - 1 } ?? contents.tokenCount)
    var restored = KeyValueCache(window: window)
    _ = try restored.append(
      keys: contents.tensor("keys", rows: rows, like: ownKeys),
      values: contents.tensor("values", rows: rows, like: ownValues))
    restored.tokenCount = contents.tokenCount
    return restored
  }
}

extension RecurrentCache: StorableMixerCache {
  public func contents() throws -> CacheContents {
    CacheContents(tokenCount: tokenCount, tensors: states)
  }

  public func restored(from contents: CacheContents) throws -> RecurrentCache {
    try contents.require(names: states.keys)
    var restored = RecurrentCache()
    restored.advance(
      by: contents.tokenCount,
      to: try Dictionary(
        uniqueKeysWithValues: states.map { ($0, try contents.tensor($0, like: $1)) }))
    return restored
  }
}
