import AttentionTensors

/// Consecutive tokens of one row of the batch that share a state.
public struct TokenSequence: Hashable, Sendable {
  public let row: Int
  public let tokens: Range<Int>
}

/// The sequences of a call: the rows of the batch, or those packed into one row. Rows take constant memory.
public struct TokenSequences: RandomAccessCollection, Sendable {
  private enum Source: Sendable {
    case rows(Int, length: Int)
    /// The cumulative lengths.
    case packed([Int])
  }

  private let source: Source

  /// All tokens of each row.
  init(rows: Int, length: Int) { source = .rows(rows, length: length) }

  /// The tokens between adjacent `bounds`, which never fall; there is at least one.
  init(packed bounds: [Int]) { source = .packed(bounds) }

  public var startIndex: Int { 0 }
  public var endIndex: Int {
    switch source {
    case .rows(let count, _): count
    case .packed(let bounds): bounds.count - 1
    }
  }

  public subscript(number: Int) -> TokenSequence {
    switch source {
    case .rows(_, let length): TokenSequence(row: number, tokens: 0..<length)
    case .packed(let bounds): TokenSequence(row: 0, tokens: bounds[number]..<bounds[number + 1])
    }
  }
}
