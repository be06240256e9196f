import AttentionOperators
import AttentionTensors

/// A case of the selective scan.
public struct SelectiveScanCase: ConformanceCase {
  public var batch: Int
  public var length: Int
  public var channels: Int
  public var states: Int
  public var dtype: DType
  public var features: [SelectiveScanFeature]

  public var name: String {
    let sizes =
      "selective scan b=\(batch) t=\(length) d=\(channels) s=\(states) \(dtype.rawValue)"
    return features.isEmpty
      ? sizes : "\(sizes): \(features.map(\.rawValue).joined(separator: ", "))"
  }

  func has(_ feature: SelectiveScanFeature) -> Bool { features.contains(feature) }

  public func makeProblem(seed: UInt64) throws -> any ConformanceProblem {
    try SelectiveScanConformanceProblem(self, Draw(seed: seed, label: name))
  }
}

extension SelectiveScanCase {
  /// Every feature alone and in pairs, and some larger combinations, over ragged lengths and widths in rotation.
  ///
  /// - Parameter isQuick: whether sizes are small, so that a debug build takes seconds.
  public static func all(isQuick: Bool) -> [SelectiveScanCase] {
    let lengths = isQuick ? [9, 0, 66, 1, 17, 2] : [65, 127, 1, 150, 0, 2, 63, 64]
    let widths = isQuick ? [8, 5, 17] : [32, 70, 130, 16, 5]
    return (SelectiveScanFeature.aloneAndInPairs + SelectiveScanFeature.more).enumerated().map {
      index, features in
      var result = SelectiveScanCase(
        batch: features.contains(.packed) ? 1 : 2, length: lengths[index % lengths.count],
        channels: features.contains(.oneChannel) ? 1 : widths[index % widths.count], states: 16,
        dtype: .float32, features: features)
      if features.contains(.oneState) { result.states = 1 }
      if features.contains(.manyStates) { result.states = 37 }
      if features.contains(.bfloat16) { result.dtype = .bfloat16 }
      if features.contains(.float16) { result.dtype = .float16 }
      return result
    }
  }
}
