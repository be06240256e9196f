/// What becomes of the matches that split a text.
enum SplitBehavior: String, CaseIterable, Sendable {
  /// Matches are left out.
  case removed = "Removed"
  /// Each match is a piece.
  case isolated = "Isolated"
  /// A match belongs to the piece before it.
  case mergedWithPrevious = "MergedWithPrevious"
  /// A match belongs to the piece after it.
  case mergedWithNext = "MergedWithNext"
  /// Matches beside each other are one piece.
  case contiguous = "Contiguous"
}

/// Collects the pieces of one split piece: alternating matches and what is between them.
struct SplitCollector {
  let behavior: SplitBehavior
  private(set) var bounds: [UInt32] = []
  private var lastIsMatch = false
  /// Where the pieces of the piece at hand begin in `bounds`.
  private var first = 0

  init(_ behavior: SplitBehavior, capacity: Int) {
    self.behavior = behavior
    bounds.reserveCapacity(capacity)
  }

  /// Begins the next piece.
  mutating func begin() {
    first = bounds.count
    lastIsMatch = false
  }

  /// Adds a part of the piece, from left to right.
  @inline(__always)
  mutating func add(_ start: UInt32, _ end: UInt32, isMatch: Bool) {
    if start == end { return }
    let hasLast = bounds.count > first
    let extends: Bool
    switch behavior {
    case .isolated: extends = false
    case .removed:
      if isMatch { return }
      extends = false
    case .contiguous: extends = hasLast && lastIsMatch == isMatch
    case .mergedWithPrevious: extends = hasLast && isMatch && !lastIsMatch
    case .mergedWithNext: extends = hasLast && !isMatch && lastIsMatch
    }
    lastIsMatch = isMatch
    if extends {
      bounds[bounds.count - 1] = end
    } else {
      bounds.append(start)
      bounds.append(end)
    }
  }
}
