import AttentionTensors

/// Random inputs of one case. Each tensor has its own stream, named by the case and the tensor, so that a case
/// draws the same numbers whichever other cases run.
struct Draw {
  let seed: UInt64
  let label: String

  private func generator(_ name: String) -> Philox {
    Philox(seed: seed, label: "\(label)/\(name)")
  }

  /// Normal numbers with the given standard deviation.
  func normal(_ name: String, _ shape: Shape, size: Double = 1, dtype: DType = .float32) throws
    -> Tensor
  {
    var generator = generator(name)
    return try .normal(shape, standardDeviation: size, using: &generator, dtype: dtype)
  }

  func uniform(_ name: String, _ shape: Shape, from low: Double, to high: Double) throws -> Tensor {
    var generator = generator(name)
    return try .uniform(shape, from: low, to: high, using: &generator)
  }

  /// True with the given probability.
  func flags(_ name: String, count: Int, probability: Double) -> [Bool] {
    var generator = generator(name)
    return (0..<count).map { _ in generator.nextUniform() < probability }
  }

  /// Cumulative lengths of `sequences` sequences; the second is empty.
  func cumulativeLengths(total: Int, sequences: Int) throws -> Tensor {
    var generator = generator("cumulative_lengths")
    var cuts = (0..<sequences - 1).map { _ in generator.next(below: total + 1) }.sorted()
    if cuts.count > 1 { cuts[1] = cuts[0] }
    return try Tensor(([0] + cuts + [total]).map { Int32($0) })
  }

  /// Logarithms of decays, like those of trained gates; strong ones also forget everything or nothing. If
  /// `strongest` is infinite, mild ones occasionally forget everything.
  func decay(_ shape: Shape, isStrong: Bool, strongest: Double = -20) throws -> Tensor {
    let mild = try -normal("decay", shape, size: 0.2).absolute()
    guard isStrong || strongest == -.infinity else { return mild }
    let count = shape.elementCount
    let floods = try Tensor(flags("decay floods", count: count, probability: 0.2), shape)
    let keeps = try Tensor(flags("decay keeps", count: count, probability: 0.2), shape)
    return try .select(
      floods, .full([], strongest), .select(keeps, .zeros([]), isStrong ? mild * 5 : mild))
  }
}

extension Tensor {
  /// √(mean of x²), 0 if there are no elements; infinite elements are ignored.
  func rootMeanSquare() throws -> Double {
    let squares = try elements(as: Double.self).filter(\.isFinite).map { $0 * $0 }
    return (squares.reduce(0, +) / Double(max(1, squares.count))).squareRoot()
  }

  /// The same numbers with other strides: stored with the two axes exchanged, presented by a view.
  func restrided(_ first: Int, _ second: Int) throws -> Tensor {
    try transposed(first, second).contiguous().transposed(first, second)
  }

  /// The same numbers with rows `indices` of axis 1 set to zero.
  func clearing(rows indices: Set<Int>) throws -> Tensor {
    let keeps = try Tensor((0..<shape[1]).map { !indices.contains($0) }, [1, shape[1]])
    return try .select(
      keeps.reshaped(Shape([1, shape[1]] + shape.dropFirst(2).map { _ in 1 })), self,
      .zeros([], dtype: dtype))
  }

  /// The same numbers as a view with gaps between the rows.
  func withGaps() throws -> Tensor {
    let width = shape[rank - 1]
    let gap = try Tensor.zeros(Shape(shape.dropLast() + [3]), dtype: dtype)
    return try Tensor.concatenated([self, gap], rank - 1).sliced(rank - 1, 0..<width)
  }
}
