import AttentionTensors

/// The position of queries among the keys if their lengths differ.
public enum Alignment: String, CaseIterable, Hashable, Sendable, Codable {
  /// The last query is at the last key: query i at key i + s − t.
  case bottomRight = "bottom-right"
  /// The first query is at the first key: query i at key i.
  case topLeft = "top-left"
}

/// The largest distance of the keys that a query may attend to; nil is no limit.
public struct Window: Hashable, Sendable, Codable {
  /// Keys before the query's position, at least 0.
  public var left: Int?
  /// Keys after the query's position, at least 0.
  public var right: Int?

  public init(left: Int?, right: Int?) {
    self.left = left
    self.right = right
  }
}

/// Which keys a query may attend to.
public struct AttentionMask: Sendable {
  /// Whether keys after the query's position are masked.
  public var isCausal: Bool
  /// The position of queries among the keys, for causality, the window and ALiBi.
  public var alignment: Alignment
  public var window: Window?
  /// bool [batch, keys]: true for keys that may be attended to.
  public var keyMask: Tensor?
  /// int32 [sequences + 1]: cumulative lengths of packed sequences in a batch of 1, which do not attend to
  /// each other. They start at 0, never fall and end at the length, that of queries and of keys.
  public var cumulativeLengths: Tensor?

  public init(
    isCausal: Bool = false, alignment: Alignment = .bottomRight, window: Window? = nil,
    keyMask: Tensor? = nil, cumulativeLengths: Tensor? = nil
  ) {
    self.isCausal = isCausal
    self.alignment = alignment
    self.window = window
    self.keyMask = keyMask
    self.cumulativeLengths = cumulativeLengths
  }
}

/// The keys that causality and window leave a query, as a band along the diagonal: query i attends to keys
/// i + low ..< i + high, clamped to those that exist.
struct Band: Hashable, Sendable {
  /// Beyond every tensor, and far from overflow.
  private static let unlimited = Int.max / 4

  let low: Int
  let high: Int

  init(_ isCausal: Bool, _ alignment: Alignment, _ window: Window?, queries: Int, keys: Int) {
    let place = alignment == .bottomRight ? keys - queries : 0
    var low = -Self.unlimited
    var high = Self.unlimited
    if let left = window?.left, left < Self.unlimited { low = place - left }
    if let right = window?.right, right < Self.unlimited { high = place + right + 1 }
    if isCausal { high = min(high, place + 1) }
    self.low = low
    self.high = high
  }

  private init(low: Int, high: Int) {
    self.low = low
    self.high = high
  }

  /// The same band from the keys' side: queries j + low ..< j + high attend to key j.
  var transposed: Band { Band(low: 1 - high, high: 1 - low) }

  /// The keys, of `keys`, that any of the queries `rows` attends to.
  func visibleKeys(rows: Range<Int>, keys: Int) -> Range<Int> {
    let first = max(0, rows.lowerBound + low)
    let end = min(keys, rows.upperBound - 1 + high)
    return first < end ? first..<end : 0..<0
  }

  /// The queries, of `queries`, that attend to any of the keys `columns`.
  func visibleQueries(columns: Range<Int>, queries: Int) -> Range<Int> {
    // i + low <= last key and i + high > first key
    let first = max(0, columns.lowerBound - high + 1)
    let end = min(queries, columns.upperBound - low)
    return first < end ? first..<end : 0..<0
  }

  /// Whether every query of `rows` attends to every key of `columns`.
  func covers(rows: Range<Int>, columns: Range<Int>) -> Bool {
    columns.lowerBound >= rows.upperBound - 1 + low
      && columns.upperBound <= rows.lowerBound + high
  }

  /// The number of pairs of `queries` × `keys` inside the band.
  func pairs(queries: Int, keys: Int) -> Int {
    // The sum over all queries i of min(keys, max(0, i + shift)): zeros, terms rising by one, then `keys`.
    func sum(_ shift: Int) -> Int {
      let zeros = min(queries, max(0, -shift))
      let full = min(queries, max(0, keys - shift))
      return (full - zeros) * shift + (full - zeros) * (full + zeros - 1) / 2
        + (queries - full) * keys
    }
    return low < high ? sum(high) - sum(low) : 0
  }
}
