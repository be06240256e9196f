/// A flag or choice that a case may have; of one group a case has at most one.
protocol CaseFeature: Hashable, CaseIterable, Sendable, RawRepresentable where RawValue == String {
  /// The choice that this is one answer to.
  var group: String { get }

  /// Whether no case can have both, for another reason than a shared group.
  func excludes(_ other: Self) -> Bool
}

extension CaseFeature {
  /// No feature, each alone, and each two that go together.
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
