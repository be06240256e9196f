import AttentionTensors

/// The cases of all operators.
public enum ConformanceSuite {
  /// An operator that has cases.
  public enum Operator: String, CaseIterable, Sendable {
    case elementary, exact, linear, scan
  }

  /// How much of the suite to run.
  public enum Extent: Sendable {
    /// Every case, at ragged lengths up to a few hundred: less than a minute in release builds.
    case full
    /// Every feature alone and some of the pairs, at short lengths: seconds in debug builds.
    case quick
  }

  /// One out of this many pairs is a quick case.
  private static let quickStride = 7

  /// The cases of `operation`, in a fixed order.
  public static func cases(of operation: Operator, _ extent: Extent = .full)
    -> [any ConformanceCase]
  {
    let isQuick = extent == .quick
    switch operation {
    case .elementary: return ElementaryCase.all(isQuick: isQuick)
    case .exact:
      return thinned(ExactCase.all(isQuick: isQuick), isQuick, \.features.count)
        + ExactCase.blocks(isQuick: isQuick)
    case .linear: return thinned(LinearCase.all(isQuick: isQuick), isQuick, \.features.count)
    case .scan:
      return thinned(ScanCase.all(isQuick: isQuick), isQuick, \.features.count)
        + thinned(SelectiveScanCase.all(isQuick: isQuick), isQuick, \.features.count)
    }
  }

  private static func thinned<C: ConformanceCase>(
    _ cases: [C], _ isQuick: Bool, _ featureCount: (C) -> Int
  ) -> [any ConformanceCase] {
    guard isQuick else { return cases }
    return cases.enumerated()
      .filter { featureCount($0.element) < 2 || $0.offset % quickStride == 0 }.map(\.element)
  }
}
