import AttentionTensors

/// Where a query stands among keys of another number.
public enum Alignment: String, CaseIterable, Hashable, Sendable, Codable {
  /// The last query stands at the last key: query i at key i + s − t.
  case bottomRight = "bottom-right"
  /// Query i stands at key i.
  case topLeft = "top-left"
}

/// How far a query sees around its place; nil is no limit.
public struct Window: Hashable, Sendable, Codable {
  /// Keys before the query's place, at least 0.
  public var left: Int?
  /// Keys after the query's place, at least 0.
  public var right: Int?

  public init(left: Int?, right: Int?) {
    self.left = left
    self.right = right
  }
}

/// Which keys a query may attend.
public struct AttentionMask: Sendable {
  /// No key after the query's place.
  public var isCausal: Bool
  /// Places the causal edge, the window and ALiBi alike.
  public var alignment: Alignment
  public var window: Window?
  /// bool [batch, keys]: true where a key may be attended.
  public var keyMask: Tensor?
  /// int32 [sequences + 1]: packed sequences of batch 1 that do not see each other. Starts at 0,
  /// never falls, ends at the length; queries and keys have the same sequences.
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

/// The keys that a query sees because of causality and window, as a band along the diagonal:
/// query i sees keys i + low ..< i + high, cut to those that exist.
struct Band: Hashable, Sendable {
  /// Far enough outside every tensor, and far from overflow.
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

  /// The same band from the keys' side: key j is seen by queries j + low ..< j + high.
  var transposed: Band { Band(low: 1 - high, high: 1 - low) }

  /// The keys that any of the queries `rows` sees, of `keys` keys.
  func visibleKeys(rows: Range<Int>, keys: Int) -> Range<Int> {
    let first = max(0, rows.lowerBound + low)
    let end = min(keys, rows.upperBound - 1 + high)
    return first < end ? first..<end : 0..<0
  }

  /// The queries that see any of the keys `columns`, of `queries` queries.
  func visibleQueries(columns: Range<Int>, queries: Int) -> Range<Int> {
    // i + low <= last key and i + high > first key
    let first = max(0, columns.lowerBound - high + 1)
    let end = min(queries, columns.upperBound - low)
    return first < end ? first..<end : 0..<0
  }

  /// Whether every query of `rows` sees every key of `columns`.
  func covers(rows: Range<Int>, columns: Range<Int>) -> Bool {
    columns.lowerBound >= rows.upperBound - 1 + low
      && columns.upperBound <= rows.lowerBound + high
  }

  /// How many pairs of `queries` × `keys` are inside the band.
  func pairs(queries: Int, keys: Int) -> Int {
    // The sum over all queries i of min(keys, max(0, i + shift)): zeros, then numbers that rise by one,
    // then `keys` each.
    func sum(_ shift: Int) -> Int {
      let zeros = min(queries, max(0, -shift))
      let full = min(queries, max(0, keys - shift))
      return (full - zeros) * shift + (full - zeros) * (full + zeros - 1) / 2
        + (queries - full) * keys
    }
    return low < high ? sum(high) - sum(low) : 0
  }
}
