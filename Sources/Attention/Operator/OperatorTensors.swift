import AttentionTensors

/// Tensors by role, in the order of insertion.
///
///     let outputs: ExactOutputs = [.output: output, .logSumExp: sums]
///     print(outputs[.output]?.shape)
///
/// Tables are small, so keys are searched linearly, without hashing.
@frozen
public struct OperatorTensors<Key: Hashable & Sendable>: Sendable, Sequence,
  ExpressibleByDictionaryLiteral
{
  public typealias Element = (key: Key, tensor: Tensor)

  @usableFromInline
  internal var storedKeys: [Key]
  @usableFromInline
  internal var storedTensors: [Tensor]

  /// The roles of the tensors, all different.
  @inlinable
  public var keys: [Key] { storedKeys }
  /// The tensors, one for each of ``keys``.
  @inlinable
  public var tensors: [Tensor] { storedTensors }

  @inlinable
  internal init(keys: [Key], tensors: [Tensor]) {
    storedKeys = keys
    storedTensors = tensors
  }

  /// An empty table with reserved capacity.
  @inlinable
  public init(minimumCapacity: Int) {
    (storedKeys, storedTensors) = ([], [])
    storedKeys.reserveCapacity(minimumCapacity)
    storedTensors.reserveCapacity(minimumCapacity)
  }

  /// A table of the tensors that are present.
  @inlinable
  public init(_ entries: some Sequence<(key: Key, tensor: Tensor?)>) {
    self.init(minimumCapacity: entries.underestimatedCount)
    for (key, tensor) in entries { self[key] = tensor }
  }

  /// A table of the tensors that are present.
  @inlinable
  public init(dictionaryLiteral elements: (Key, Tensor?)...) {
    self.init(elements.lazy.map { (key: $0, tensor: $1) })
  }

  @inlinable
  public var isEmpty: Bool { keys.isEmpty }

  @inlinable
  public func makeIterator() -> Iterator { Iterator(self) }

  @frozen
  public struct Iterator: IteratorProtocol {
    @usableFromInline
    internal let table: OperatorTensors
    @usableFromInline
    internal var place = 0

    @inlinable
    internal init(_ table: OperatorTensors) { self.table = table }

    @inlinable
    public mutating func next() -> Element? {
      guard place < table.storedKeys.count else { return nil }
      defer { place += 1 }
      return (table.storedKeys[place], table.storedTensors[place])
    }
  }

  /// The tensor for `key`, nil if there is none. Setting nil removes it.
  @inlinable
  public subscript(key: Key) -> Tensor? {
    get { keys.firstIndex(of: key).map { tensors[$0] } }
    set {
      let place = keys.firstIndex(of: key)
      switch (place, newValue) {
      case (let place?, let tensor?): storedTensors[place] = tensor
      case (let place?, nil):
        storedKeys.remove(at: place)
        storedTensors.remove(at: place)
      case (nil, let tensor?):
        storedKeys.append(key)
        storedTensors.append(tensor)
      case (nil, nil): break
      }
    }
  }

  /// The same numbers without their history; the table itself if none has one.
  func detached() -> Self {
    tensors.contains(where: \.hasHistory) ? mapTensors { $1.detached() } : self
  }

  /// A table with the same keys and every tensor replaced by the result of `body`.
  @inlinable
  public func mapTensors(_ body: (Key, Tensor) throws -> Tensor) rethrows -> Self {
    Self(keys: keys, tensors: try keys.indices.map { try body(keys[$0], tensors[$0]) })
  }
}

extension OperatorTensors where Key: OperatorInput {
  /// The tensor for an input that a call cannot do without.
  ///
  /// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)`` if it is absent.
  @inlinable
  public func required(_ input: Key) throws -> Tensor {
    guard let tensor = self[input] else {
      throw AttentionError.invalidArgument(input.argument, was: "absent", mustBe: "present")
    }
    return tensor
  }
}
