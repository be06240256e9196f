import AttentionOperators
import AttentionTensors

/// A case of the gated scan.
public struct ScanCase: ConformanceCase {
  public var batch: Int
  public var length: Int
  public var channels: Int
  public var dtype: DType
  public var features: [ScanFeature]

  public var name: String {
    let sizes = "scan b=\(batch) t=\(length) d=\(channels) \(dtype.rawValue)"
    return features.isEmpty
      ? sizes : "\(sizes): \(features.map(\.rawValue).joined(separator: ", "))"
  }

  func has(_ feature: ScanFeature) -> Bool { features.contains(feature) }

  public func makeProblem(seed: UInt64) throws -> any ConformanceProblem {
    try ScanConformanceProblem(self, Draw(seed: seed, label: name))
  }
}

extension ScanCase {
  /// Every feature alone and in pairs, and some larger combinations, over ragged lengths and widths in rotation.
  ///
  /// - Parameter isQuick: whether lengths are short, so that a debug build takes seconds.
  public static func all(isQuick: Bool) -> [ScanCase] {
    let lengths = isQuick ? [9, 0, 130, 1, 65, 2] : [65, 127, 1, 300, 0, 2, 1000, 63, 64]
    let widths = isQuick ? [8, 37, 16] : [32, 70, 129, 16, 5]
    return (ScanFeature.aloneAndInPairs + ScanFeature.more).enumerated().map { index, features in
      var result = ScanCase(
        batch: features.contains(.packed) ? 1 : 3, length: lengths[index % lengths.count],
        channels: features.contains(.oneChannel) ? 1 : widths[index % widths.count],
        dtype: .float32, features: features)
      if features.contains(.bfloat16) { result.dtype = .bfloat16 }
      if features.contains(.float16) { result.dtype = .float16 }
      return result
    }
  }
}
