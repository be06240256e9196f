import AttentionCLibrary
import AttentionTensors
import TestSupport
import Testing

@testable import AttentionOperators

/// Random arguments of a selective scan.
struct SelectiveSample: Sendable {
  var inputs, step, stateMatrix, inputMatrix, outputMatrix: Tensor
  var skip, stepBias, initialState, cumulativeLengths: Tensor?
  var appliesSoftplus = true

  init(batch: Int = 1, length: Int, channels: Int, states: Int, sequences: Int? = nil) throws {
    var generator = Philox(seed: 3, label: "selective \(length) \(channels) \(states)")
    func normal(_ shape: Shape) throws -> Tensor { try .normal(shape, using: &generator) }
    inputs = try normal([batch, length, channels])
    step = try normal([batch, length, channels]) - 2.0
    stateMatrix = try Tensor.uniform([channels, states], from: -16, to: -1, using: &generator)
    inputMatrix = try normal([batch, length, states])
    outputMatrix = try normal([batch, length, states])
    skip = try normal([channels])
    stepBias = try normal([channels])
    initialState = try normal([sequences ?? batch, channels, states])
  }

  func callAsFunction(_ kernel: String?) throws -> SelectiveScanResult {
    try selectiveScan(
      inputs: inputs, step: step, stateMatrix: stateMatrix, inputMatrix: inputMatrix,
      outputMatrix: outputMatrix, skip: skip, stepBias: stepBias,
      appliesSoftplus: appliesSoftplus, initialState: initialState,
      cumulativeLengths: cumulativeLengths, kernel: kernel)
  }

  /// The arguments of a range of tokens.
  func sliced(_ tokens: Range<Int>, state: Tensor?) throws -> SelectiveSample {
    var part = self
    part.inputs = try inputs.sliced(1, tokens)
    part.step = try step.sliced(1, tokens)
    part.inputMatrix = try inputMatrix.sliced(1, tokens)
    part.outputMatrix = try outputMatrix.sliced(1, tokens)
    part.initialState = state
    part.cumulativeLengths = nil
    return part
  }

  static let paths: [WritableKeyPath<SelectiveSample, Tensor> & Sendable] = [
    \.inputs, \.step, \.stateMatrix, \.inputMatrix, \.outputMatrix,
  ]
  static let optionalPaths: [WritableKeyPath<SelectiveSample, Tensor?> & Sendable] = [
    \.skip, \.stepBias, \.initialState,
  ]

  func mapping(_ change: (Tensor) throws -> Tensor) rethrows -> SelectiveSample {
    var copy = self
    for path in Self.paths { copy[keyPath: path] = try change(self[keyPath: path]) }
    for path in Self.optionalPaths { copy[keyPath: path] = try self[keyPath: path].map(change) }
    return copy
  }

  var sources: [Tensor] {
    Self.paths.map { self[keyPath: $0] } + Self.optionalPaths.compactMap { self[keyPath: $0] }
  }
}

@Suite struct SelectiveScanTests {
  /// One channel, two states, two tokens, by hand.
  @Test(arguments: ["cpu.reference", "cpu.scan", "cpu.step"])
  func twoTokensByHand(_ kernel: String) throws {
    let result = try selectiveScan(
      inputs: Tensor([2, 4] as [Float], [1, 2, 1]), step: Tensor([1, 0.5] as [Float], [1, 2, 1]),
      stateMatrix: Tensor([-Float(log(2.0)), -Float(2 * log(2.0))], [1, 2]),
      inputMatrix: Tensor([1, 3, 0, 1] as [Float], [1, 2, 2]),
      outputMatrix: Tensor([1, 1, 2, 1] as [Float], [1, 2, 2]),
      skip: Tensor([10] as [Float]), initialState: Tensor([4, 8] as [Float], [1, 1, 2]),
      kernel: kernel)
    // h_1 = (4/2 + 2, 8/4 + 6) = (4, 8), y_1 = 12 + 20. h_2 = (4/√2, 8/2 + 2).
    let output = try result.output.elements(as: Double.self)
    #expect(abs(output[0] - 32) < 1e-5)
    #expect(abs(output[1] - (2 * 4 / 2.0.squareRoot() + 6 + 40)) < 1e-5)
    let states = try result.finalState.elements(as: Double.self)
    #expect(abs(states[0] - 4 / 2.0.squareRoot()) < 1e-6)
    #expect(abs(states[1] - 6) < 1e-6)
  }

  /// The reference's gradients compared with differences of its outputs.
  @Test func referenceGradientsAreTheDerivatives() throws {
    var sample = try SelectiveSample(length: 6, channels: 2, states: 3, sequences: 3)
    sample.cumulativeLengths = try Tensor([0, 2, 2, 6] as [Int32])
    let wide = try sample.mapping { try $0.cast(to: .float64) }
    func loss(_ sample: SelectiveSample) throws -> Tensor {
      let result = try sample("cpu.reference")
      return try result.output.squared().sum() + result.finalState.squared().sum()
    }
    let tracked = wide.mapping { $0.tracked() }
    let gradients = try loss(tracked).gradients(of: tracked.sources)
    let step = 1e-5
    for (index, gradient) in gradients.enumerated() {
      let expected = try gradient.elements(as: Double.self)
      for place in expected.indices {
        func moved(_ by: Double) throws -> Double {
          var source = 0
          let changed = try wide.mapping { tensor in
            defer { source += 1 }
            guard source == index else { return tensor }
            var values = try tensor.elements(as: Double.self)
            values[place] += by
            return try Tensor(values, tensor.shape)
          }
          return try loss(changed).item()
        }
        let difference = try (moved(step) - moved(-step)) / (2 * step)
        let size = max(1, abs(difference))
        #expect(abs(difference - expected[place]) < 1e-6 * size, "source \(index), \(place)")
      }
    }
  }

  /// A sequence split anywhere, with its state carried over, gives the same result with either kernel; so does
  /// token by token.
  @Test(arguments: [0, 1, 64, 77, 130]) func continuesWhereItWasCut(_ place: Int) throws {
    let sample = try SelectiveSample(batch: 2, length: 130, channels: 9, states: 16)
    let whole = try sample("cpu.scan")
    for (first, second) in [("cpu.scan", "cpu.scan"), ("cpu.scan", "cpu.step")] {
      let head = try sample.sliced(0..<place, state: sample.initialState)(first)
      let tail = try sample.sliced(place..<130, state: head.finalState)(second)
      let joined = try Tensor.concatenated([head.output, tail.output], 1)
      #expect(try relativeError(joined, whole.output) <= 2e-6, "\(first), \(second)")
      #expect(try relativeError(tail.finalState, whole.finalState) <= 2e-6, "\(second)")
    }
  }

  @Test(arguments: ["cpu.scan", "cpu.step"]) func packedSequencesAreApart(_ kernel: String) throws {
    let lengths = [0, 30, 30, 31, 101, 165]
    var sample = try SelectiveSample(length: 165, channels: 70, states: 5, sequences: 5)
    sample.cumulativeLengths = try Tensor(lengths.map(Int32.init))
    let packed = try sample(kernel)
    for (index, (start, end)) in zip(lengths, lengths.dropFirst()).enumerated() {
      let state = try sample.initialState?.sliced(0, index..<index + 1)
      let alone = try sample.sliced(start..<end, state: state)(kernel)
      #expect(
        try alone.output.elements(as: Float.self)
          == packed.output.sliced(1, start..<end).elements(as: Float.self))
      #expect(
        try alone.finalState.elements(as: Float.self)
          == packed.finalState.sliced(0, index..<index + 1).elements(as: Float.self))
    }
  }

  /// Sums over channels are added in parts that depend on the width: several parts, of several tiles.
  @Test func manyChannelsAddUp() throws {
    let sample = try SelectiveSample(length: 3, channels: 1100, states: 2)
    let tracked = sample.mapping { $0.tracked() }
    let exact = try sample.mapping { try $0.cast(to: .float64) }.mapping { $0.tracked() }
    let gradients = try tracked("cpu.scan").output.sum().gradients(of: tracked.sources)
    let expected = try exact("cpu.reference").output.sum().gradients(of: exact.sources)
    for (index, (gradient, right)) in zip(gradients, expected).enumerated() {
      #expect(try relativeError(gradient, right) <= 1e-5, "source \(index)")
    }
  }

  /// The step form for one token, tiles for a prompt or for gradients.
  @Test func choosesByLength() throws {
    func chosen(_ length: Int, tracked: Bool) throws -> String? {
      var sample = try SelectiveSample(length: length, channels: 256, states: 16)
      if tracked { sample.inputs = sample.inputs.tracked() }
      return try sample(nil).explanation.chosen
    }
    #expect(try chosen(1, tracked: false) == "cpu.step")
    #expect(try chosen(64, tracked: false) == "cpu.scan")
    #expect(try chosen(1, tracked: true) == "cpu.scan")
  }

  struct Mistake: CustomStringConvertible, Sendable {
    let description: String
    let names: String
    let spoil: @Sendable (inout SelectiveSample) throws -> Void
  }

  static let mistakes: [Mistake] = [
    Mistake(description: "inputs of rank 2", names: "inputs") { $0.inputs = try .zeros([5, 4]) },
    Mistake(description: "shorter steps", names: "step") { $0.step = try .zeros([1, 4, 4]) },
    Mistake(description: "integer steps", names: "dtype of step") {
      $0.step = try .zeros([1, 5, 4], dtype: .int32)
    },
    Mistake(description: "a matrix of other channels", names: "stateMatrix") {
      $0.stateMatrix = try .zeros([3, 2])
    },
    Mistake(description: "no states", names: "stateMatrix") {
      $0.stateMatrix = try .zeros([4, 0])
    },
    Mistake(description: "another number of states", names: "inputMatrix") {
      $0.inputMatrix = try .zeros([1, 5, 3])
    },
    Mistake(description: "boolean output matrix", names: "dtype of outputMatrix") {
      $0.outputMatrix = try .zeros([1, 5, 2], dtype: .bool)
    },
    Mistake(description: "one skip", names: "skip") { $0.skip = try .zeros([1]) },
    Mistake(description: "a wide bias", names: "stepBias") { $0.stepBias = try .zeros([4, 1]) },
    Mistake(description: "a state without channels", names: "initialState") {
      $0.initialState = try .zeros([1, 2])
    },
    Mistake(description: "lengths that end early", names: "cumulativeLengths") {
      $0.cumulativeLengths = try Tensor([0, 4] as [Int32])
    },
  ]

  @Test(arguments: mistakes) func namesWhatIsWrong(_ mistake: Mistake) throws {
    var sample = try SelectiveSample(length: 5, channels: 4, states: 2)
    try mistake.spoil(&sample)
    let spoiled = sample
    let error = try #require(throws: AttentionError.self) { try spoiled(nil) }
    guard case .invalidArgument(let name, _, _) = error else {
      Issue.record("\(mistake): \(error)")
      return
    }
    #expect(name == mistake.names)
  }
}

/// Each kernel individually; ``ThreadCountTests`` covers the chosen ones.
@Suite struct SelectiveScanThreadTests {
  @Test func resultsDoNotDependOnThreads() throws {
    let sample = try SelectiveSample(batch: 2, length: 70, channels: 140, states: 3)
    let tracked = sample.mapping { $0.tracked() }
    try expectSameBits {
      let result = try tracked("cpu.scan")
      let step = try sample("cpu.step")
      return [result.output, result.finalState, step.output, step.finalState]
        + (try result.output.squared().sum().gradients(of: tracked.sources))
    }
  }
}
