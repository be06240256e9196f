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
      return thinned(ExactCase.all(isQuick: isQuick), isQuick)
        + ExactCase.blocks(isQuick: isQuick)
    case .linear: return thinned(LinearCase.all(isQuick: isQuick), isQuick)
    case .scan:
      return thinned(ScanCase.all(isQuick: isQuick), isQuick)
        + thinned(SelectiveScanCase.all(isQuick: isQuick), isQuick)
    }
  }

  private static func thinned(_ cases: [some FeaturedCase], _ isQuick: Bool)
    -> [any ConformanceCase]
  {
    guard isQuick else { return cases }
    return cases.enumerated()
      .filter { $0.element.features.count < 2 || $0.offset % quickStride == 0 }.map(\.element)
  }
}
