import AttentionTensors

/// Tensors by what they are for, in the order in which they were put in.
///
///     let outputs: ExactOutputs = [.output: output, .logSumExp: sums]
///     print(outputs[.output]?.shape)
///
/// A table has a few entries: finding one compares keys and hashes nothing.
public struct Tensors<Key: Hashable & Sendable>: Sendable, Sequence, ExpressibleByDictionaryLiteral
{
  public typealias Element = (key: Key, tensor: Tensor)

  private var entries: [Element]

  /// A table of those that are present.
  public init(_ entries: some Sequence<(key: Key, tensor: Tensor?)>) {
    self.entries = []
    self.entries.reserveCapacity(entries.underestimatedCount)
    for (key, tensor) in entries { self[key] = tensor }
  }

  /// A table of those that are present.
  public init(dictionaryLiteral elements: (Key, Tensor?)...) {
    self.init(elements.lazy.map { (key: $0, tensor: $1) })
  }

  public var isEmpty: Bool { entries.isEmpty }
  public var keys: [Key] { entries.map(\.key) }

  public func makeIterator() -> IndexingIterator<[Element]> { entries.makeIterator() }

  /// The tensor for `key`, nil where there is none. Setting nil takes it out.
  public subscript(key: Key) -> Tensor? {
    get {
      for entry in entries where entry.key == key { return entry.tensor }
      return nil
    }
    set {
      let place = entries.firstIndex { $0.key == key }
      switch (place, newValue) {
      case (let place?, let tensor?): entries[place].tensor = tensor
      case (let place?, nil): entries.remove(at: place)
      case (nil, let tensor?): entries.append((key, tensor))
      case (nil, nil): break
      }
    }
  }

  /// The same table with every tensor replaced.
  public func mapTensors(_ body: (Key, Tensor) throws -> Tensor) rethrows -> Self {
    var result = self
    for place in entries.indices {
      result.entries[place].tensor = try body(entries[place].key, entries[place].tensor)
    }
    return result
  }
}

extension Tensors where Key: OperatorInput {
  /// The tensor for an input that a call cannot do without.
  ///
  /// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)`` if it is absent.
  public func required(_ input: Key) throws -> Tensor {
    guard let tensor = self[input] else {
      throw AttentionError.invalidArgument(input.argument, was: "absent", mustBe: "present")
    }
    return tensor
  }
}
