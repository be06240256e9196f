import AttentionOperators
import AttentionTensors

/// A case of the gated scan.
public struct ScanCase: FeaturedCase {
  public var batch: Int
  public var length: Int
  public var channels: Int
  public var dtype: DType
  public var features: [ScanFeature]

  public var sizes: String { "scan b=\(batch) t=\(length) d=\(channels)" }

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

/// The options of the gated scan and special inputs that cases combine.
public enum ScanFeature: String, CaseFeature {
  case strong = "strong decay"
  case forgetting = "decay of -inf"
  case initialState = "initial state"
  case finalStateGradient = "final state gradient"
  case packed
  case wide = "rows apart"
  case strided
  case oneChannel = "one channel"
  case sameDType = "decay of the inputs' dtype"
  case garbage = "garbage in another sequence"
  case bfloat16, float16

  public var group: String {
    switch self {
    case .strong, .forgetting: "decay"
    case .wide, .strided: "layout"
    case .bfloat16, .float16: "dtype"
    default: rawValue
    }
  }

  public func excludes(_ other: Self) -> Bool { false }

  /// Combinations beyond pairs.
  static let more: [[ScanFeature]] = [
    [.strong, .initialState, .packed], [.strong, .initialState, .finalStateGradient],
    [.strong, .sameDType, .bfloat16], [.strong, .sameDType, .float16],
    [.forgetting, .initialState, .finalStateGradient, .packed, .wide],
    [.strong, .initialState, .finalStateGradient, .packed, .strided, .sameDType, .bfloat16],
    [.strong, .initialState, .finalStateGradient, .packed, .wide, .sameDType, .float16],
  ]
}

/// The inputs of a case of the gated scan.
struct ScanConformanceProblem: OperatorConformanceProblem {
  private let settings: ScanCase
  let run: OperatorRun<GatedScan>

  var dtype: DType { settings.dtype }

  init(_ settings: ScanCase, _ draw: Draw) throws {
    self.settings = settings
    let packedSequences = 5
    let shape: Shape = [settings.batch, settings.length, settings.channels]
    let stateShape: Shape = [
      settings.has(.packed) ? packedSequences : settings.batch, settings.channels,
    ]
    var tokens = try draw.normal("inputs", shape, dtype: settings.dtype)
    var decay = try draw.decay(
      shape, isStrong: settings.has(.strong),
      strongest: settings.has(.forgetting) ? -.infinity : -20)
    if settings.has(.sameDType) { decay = try decay.cast(to: settings.dtype) }
    if settings.has(.strided) {
      tokens = try tokens.restrided(1, 2)
      decay = try decay.restrided(0, 1)
    } else if settings.has(.wide) {
      tokens = try tokens.withGaps()
      decay = try decay.withGaps()
    }
    var inputs: OperatorTensors<GatedScanInput> = [.inputs: tokens, .decay: decay]
    if settings.has(.initialState) {
      inputs[.initialState] = try draw.normal("initial_state", stateShape)
    }
    if settings.has(.packed) {
      inputs[.cumulativeLengths] = try draw.cumulativeLengths(
        total: settings.length, sequences: packedSequences)
    }
    var outputGradient = try draw.normal("output_gradient", shape, dtype: settings.dtype)
    let finalStateGradient =
      settings.has(.finalStateGradient) ? try draw.normal("final_state_gradient", stateShape) : nil
    if settings.has(.garbage) {
      let garbage = try OtherSequence(settings.batch, settings.length, inputs[.cumulativeLengths])
      inputs = try inputs.mapTensors { try garbage.planted(in: $1) }
      outputGradient = try garbage.planted(in: outputGradient)
    }
    run = OperatorRun(
      inputs: inputs, options: NoOptions(),
      incoming: [.output: outputGradient, .finalState: finalStateGradient])
  }
}
