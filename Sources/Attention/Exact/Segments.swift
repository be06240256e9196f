import AttentionTensors

extension ExactArguments {
  /// One sequence: its queries and keys do not meet those of another.
  public struct Segment: Hashable, Sendable {
    /// The row of the batch.
    public var batch: Int
    /// The range of its tokens in the row.
    public var queryStart: Int
    public var queryCount: Int
    public var keyStart: Int
    public var keyCount: Int
    var band: Band

    /// The keys that causality and window leave a query, as indices in the sequence.
    public func visibleKeys(query: Int) -> Range<Int> {
      band.visibleKeys(rows: query..<query + 1, keys: keyCount)
    }
  }
}

/// The sequences of a call: the rows of the batch, or those packed into one row. Rows take constant memory.
public struct Segments: RandomAccessCollection, Sendable {
  private enum Source: Sendable {
    /// As many like the first.
    case rows(Int, ExactArguments.Segment)
    case packed([ExactArguments.Segment])
  }

  private let source: Source
  /// Pairs of a query and a key inside the band, over all sequences of one head.
  let visiblePairs: Int

  /// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)`` if the cumulative lengths do not match the
  ///   numbers of queries and keys.
  init(_ options: ExactOptions, _ lengths: Tensor?, batch: Int, queries: Int, keys: Int) throws {
    func segment(_ start: Int, _ queries: Int, _ keys: Int) -> ExactArguments.Segment {
      ExactArguments.Segment(
        batch: 0, queryStart: start, queryCount: queries, keyStart: start, keyCount: keys,
        band: Band(
          options.isCausal, options.alignment, options.window, queries: queries, keys: keys))
    }
    func pairs(_ segment: ExactArguments.Segment) -> Int {
      segment.band.pairs(queries: segment.queryCount, keys: segment.keyCount)
    }
    guard let lengths else {
      let first = segment(0, queries, keys)
      source = .rows(batch, first)
      visiblePairs = batch * pairs(first)
      return
    }
    guard queries == keys else {
      throw AttentionError.invalidArgument(
        "keys", was: "of length \(keys)",
        mustBe: "of the queries' length \(queries) with cumulativeLengths")
    }
    let bounds = try Check.bounds(lengths, of: "queries", batch: batch, length: queries)
    let all = zip(bounds, bounds.dropFirst()).map { segment($0, $1 - $0, $1 - $0) }
    source = .packed(all)
    visiblePairs = all.reduce(0) { $0 + pairs($1) }
  }

  /// Whether causality or a window masks a pair of a sequence.
  var hidesPairs: Bool {
    switch source {
    case .rows(_, let first): first.hidesPairs
    case .packed(let all): all.contains(where: \.hidesPairs)
    }
  }

  public var startIndex: Int { 0 }
  public var endIndex: Int {
    switch source {
    case .rows(let count, _): count
    case .packed(let all): all.count
    }
  }

  public subscript(index: Int) -> ExactArguments.Segment {
    switch source {
    case .rows(_, var segment):
      segment.batch = index
      return segment
    case .packed(let all): return all[index]
    }
  }
}
