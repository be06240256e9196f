/// A flag or choice of a case; a case has at most one of a group.
protocol CaseFeature: Hashable, CaseIterable, Sendable, RawRepresentable where RawValue == String {
  /// The name of the group of alternatives.
  var group: String { get }

  /// Whether no case can have both, for reasons other than a shared group.
  func excludes(_ other: Self) -> Bool
}

extension CaseFeature {
  /// No feature, each alone, and each compatible pair.
  static var aloneAndInPairs: [[Self]] {
    let all = Array(allCases)
    var combinations: [[Self]] = [[]] + all.map { [$0] }
    for (index, first) in all.enumerated() {
      for second in all[(index + 1)...]
      where first.group != second.group && !first.excludes(second) && !second.excludes(first) {
        combinations.append([first, second])
      }
    }
    return combinations
  }
}
