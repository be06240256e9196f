import AttentionOperators
import AttentionTensors

/// A case of the selective scan.
public struct SelectiveScanCase: FeaturedCase {
  public var batch: Int
  public var length: Int
  public var channels: Int
  public var states: Int
  public var dtype: DType
  public var features: [SelectiveScanFeature]

  public var sizes: String {
    "selective scan b=\(batch) t=\(length) d=\(channels) s=\(states)"
  }

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

/// The options of the selective scan and special inputs that cases combine.
public enum SelectiveScanFeature: String, CaseFeature {
  case softplus
  case stepBias = "bias of the step"
  case skip
  case longSteps = "long steps"
  case forgetting = "rates of -inf"
  case initialState = "initial state"
  case finalStateGradient = "final state gradient"
  case packed
  case wide = "rows apart"
  case strided
  case oneChannel = "one channel"
  case oneState = "one state"
  case manyStates = "37 states"
  case halfMatrices = "matrices of the inputs' dtype"
  case bfloat16, float16

  public var group: String {
    switch self {
    case .wide, .strided: "layout"
    case .oneState, .manyStates: "states"
    case .bfloat16, .float16: "dtype"
    default: rawValue
    }
  }

  public func excludes(_ other: Self) -> Bool { false }

  /// Combinations beyond pairs.
  static let more: [[SelectiveScanFeature]] = [
    [.softplus, .stepBias, .skip], [.softplus, .longSteps, .forgetting, .initialState],
    [.forgetting, .initialState, .finalStateGradient, .packed],
    [.longSteps, .initialState, .finalStateGradient],
    [.softplus, .stepBias, .skip, .initialState, .finalStateGradient, .packed, .strided],
    [.softplus, .stepBias, .skip, .packed, .initialState, .wide, .halfMatrices, .bfloat16],
    [.softplus, .stepBias, .skip, .packed, .finalStateGradient, .manyStates, .float16],
  ]
}

/// The inputs of a case of the selective scan.
struct SelectiveScanConformanceProblem: OperatorConformanceProblem {
  private let settings: SelectiveScanCase
  let run: OperatorRun<SelectiveScan>

  var dtype: DType { settings.dtype }

  init(_ settings: SelectiveScanCase, _ draw: Draw) throws {
    self.settings = settings
    let packedSequences = 5
    let (b, t, d, s) = (settings.batch, settings.length, settings.channels, settings.states)
    let stateShape: Shape = [settings.has(.packed) ? packedSequences : b, d, s]
    var tokens = try draw.normal("inputs", [b, t, d], dtype: settings.dtype)
    var step = try Self.step([b, t, d], settings, draw).cast(to: settings.dtype)
    if settings.has(.forgetting), settings.has(.softplus) {
      // Steps of no time, in which even an infinite rate has no effect.
      let isNone = try Tensor(
        draw.flags("no time", count: b * t * d, probability: 0.2), [b, t, d])
      step = try .select(isNone, .full([], -.infinity, dtype: step.dtype), step)
    }
    var matrices = try ["input_matrix", "output_matrix"].map { try draw.normal($0, [b, t, s]) }
    if settings.has(.halfMatrices) {
      matrices = try matrices.map { try $0.cast(to: settings.dtype) }
    }
    if settings.has(.strided) {
      tokens = try tokens.restrided(1, 2)
      step = try step.restrided(0, 1)
      matrices = try matrices.map { try $0.restrided(1, 2) }
    } else if settings.has(.wide) {
      tokens = try tokens.withGaps()
      step = try step.withGaps()
      matrices = try matrices.map { try $0.withGaps() }
    }
    var inputs: OperatorTensors<SelectiveScanInput> = [
      .inputs: tokens, .step: step, .inputMatrix: matrices[0], .outputMatrix: matrices[1],
      .stateMatrix: try draw.uniform("state_matrix", [d, s], from: -Double(s), to: -0.5),
    ]
    if settings.has(.forgetting) {
      let count = d * s
      let lowest = -Double(Float.greatestFiniteMagnitude)
      inputs[.stateMatrix] = try .select(
        Tensor(draw.flags("forgetting", count: count, probability: 0.4), [d, s]),
        .select(
          Tensor(draw.flags("infinite", count: count, probability: 0.7), [d, s]),
          .full([], -.infinity), .full([], lowest)), inputs[.stateMatrix]!)
    }
    if settings.has(.skip) { inputs[.skip] = try draw.normal("skip", [d]) }
    if settings.has(.stepBias) {
      // Without softplus the step must stay above 0.
      inputs[.stepBias] =
        settings.has(.softplus)
        ? try draw.normal("step_bias", [d])
        : try draw.uniform("step_bias", [d], from: 0.01, to: 0.2)
    }
    if settings.has(.initialState) {
      inputs[.initialState] = try draw.normal("initial_state", stateShape)
    }
    if settings.has(.packed) {
      inputs[.cumulativeLengths] = try draw.cumulativeLengths(total: t, sequences: packedSequences)
    }
    let outputGradient = try draw.normal("output_gradient", [b, t, d], dtype: settings.dtype)
    let finalStateGradient =
      settings.has(.finalStateGradient) ? try draw.normal("final_state_gradient", stateShape) : nil
    run = OperatorRun(
      inputs: inputs, options: SelectiveScanOptions(appliesSoftplus: settings.has(.softplus)),
      incoming: [.output: outputGradient, .finalState: finalStateGradient])
  }

  /// Steps like those of trained models, 0.001 to 0.1; long ones forget most states at once.
  private static func step(_ shape: Shape, _ settings: SelectiveScanCase, _ draw: Draw) throws
    -> Tensor
  {
    if settings.has(.softplus) {
      let center = settings.has(.longSteps) ? 2.0 : -4.0
      return try draw.normal("step", shape) + center
    }
    let exponents =
      settings.has(.longSteps)
      ? try draw.uniform("step", shape, from: -3, to: 3)
      : try draw.uniform("step", shape, from: -7, to: -2.3)
    return try exponents.exponential()
  }
}
