import AttentionCLibrary
import AttentionTensors
import TestSupport
import Testing

@testable import AttentionOperators

@Suite struct ShortConvolutionTests {
  struct Case: CustomStringConvertible, Sendable {
    var batch = 2
    var length = 9
    var channels = 5
    var width = 4
    var dtype = DType.float32
    var hasBias = true
    var appliesSiLU = true
    var hasState = true
    var packed: [Int]?
    var isStrided = false

    var description: String {
      "[\(batch), \(length), \(channels)] \(dtype.rawValue), width \(width), bias \(hasBias), "
        + "silu \(appliesSiLU), state \(hasState), packed \(packed ?? []), strided \(isStrided)"
    }

    var sequences: Int { packed.map { $0.count - 1 } ?? batch }

    /// Inputs, weight, and bias and state if given.
    func sources() throws -> [Tensor] {
      var generator = Philox(seed: 2, label: description)
      var x = try Tensor.normal([batch, length, channels], using: &generator, dtype: dtype)
      if isStrided { x = try x.transposed(1, 2).contiguous().transposed(1, 2) }
      var all = [x, try .normal([channels, width], using: &generator)]
      if hasBias { all.append(try .normal([channels], using: &generator)) }
      if hasState {
        all.append(try .normal([sequences, channels, width - 1], using: &generator))
      }
      return all
    }

    func run(_ sources: [Tensor]) throws -> ShortConvolutionResult {
      try shortConvolution(
        inputs: sources[0], weight: sources[1], bias: hasBias ? sources[2] : nil,
        appliesSiLU: appliesSiLU, initialState: hasState ? sources[hasBias ? 3 : 2] : nil,
        cumulativeLengths: try packed.map { try Tensor($0.map(Int32.init)) })
    }
  }

  static let cases: [Case] = {
    var cases: [Case] = []
    for width in 2...4 {
      for length in [0, 1, 2, 3, 9] {
        cases.append(Case(length: length, width: width, hasState: length != 3))
      }
      cases.append(Case(width: width, hasBias: false, appliesSiLU: false))
      cases.append(Case(batch: 1, length: 12, width: width, packed: [0, 0, 1, 3, 3, 10, 12]))
      cases.append(
        Case(
          batch: 1, length: 12, width: width, appliesSiLU: false, hasState: false,
          packed: [0, 5, 6, 12, 12]))
      cases.append(Case(channels: 37, width: width, isStrided: true))
    }
    cases.append(Case(batch: 1, length: 600, channels: 3))
    cases.append(Case(batch: 1, length: 3, channels: 1100, appliesSiLU: false))
    for dtype in [DType.bfloat16, .float16] {
      cases.append(Case(channels: 20, dtype: dtype))
      cases.append(Case(batch: 1, dtype: dtype, packed: [0, 2, 9]))
    }
    return cases
  }()

  /// y_t and the last inputs, computed naively in float64.
  private static func naive(_ test: Case, _ sources: [Tensor]) throws -> (
    output: [Double], state: [Double]
  ) {
    let numbers = try sources.map { try $0.elements(as: Double.self) }
    let (d, w) = (test.channels, test.width)
    let bias = test.hasBias ? numbers[2] : [Double](repeating: 0, count: d)
    let state =
      test.hasState
      ? numbers[test.hasBias ? 3 : 2]
      : [Double](repeating: 0, count: test.sequences * d * (w - 1))
    var output = [Double](repeating: 0, count: numbers[0].count)
    var final: [Double] = []
    for number in 0..<test.sequences {
      let tokens =
        test.packed.map { $0[number]..<$0[number + 1] }
        ?? number * test.length..<(number + 1) * test.length
      for channel in 0..<d {
        let past = state[(number * d + channel) * (w - 1)..<(number * d + channel + 1) * (w - 1)]
        let line = past + tokens.map { numbers[0][$0 * d + channel] }
        for (t, token) in tokens.enumerated() {
          var y = bias[channel]
          for j in 0..<w { y += numbers[1][channel * w + j] * line[line.startIndex + t + j] }
          output[token * d + channel] = test.appliesSiLU ? y / (1 + exp(-y)) : y
        }
        final += line.suffix(w - 1)
      }
    }
    return (output, final)
  }

  @Test(arguments: cases) func isItsEquation(_ test: Case) throws {
    let sources = try test.sources()
    let expected = try Self.naive(test, sources)
    let tolerance = test.dtype == .float32 ? 1e-6 : test.dtype == .float16 ? 1e-3 : 8e-3
    for set in InstructionSet.supported {
      try InstructionSet.withCurrent(set) {
        let result = try test.run(sources)
        #expect(result.output.dtype == test.dtype)
        let output = try Tensor(expected.output, result.output.shape)
        #expect(try relativeError(result.output, output) <= tolerance, "\(set), \(test)")
        let state = try Tensor(expected.state, result.finalState.shape)
        #expect(try relativeError(result.finalState, state) == 0, "\(set), \(test)")
      }
    }
  }

  /// The loops' gradients compared with those of the definition by elementary operations.
  @Test(arguments: cases) func gradientsAreThoseOfTheDefinition(_ test: Case) throws {
    let sources = try test.sources().map { $0.tracked() }
    let wide = try sources.map { try $0.detached().cast(to: .float64).tracked() }
    func gradients(_ sources: [Tensor]) throws -> [Tensor] {
      let result = try test.run(sources)
      var generator = Philox(seed: 1, label: "incoming")
      let incoming = try Tensor.normal(
        result.output.shape, using: &generator, dtype: test.dtype)
      let state = try Tensor.normal(result.finalState.shape, using: &generator)
      return try Tensor.gradients(
        of: sources,
        through: [
          (result.output, incoming.cast(to: result.output.dtype)),
          (result.finalState, state.cast(to: result.finalState.dtype)),
        ])
    }
    let expected = try gradients(wide)
    let tolerance = test.dtype == .float32 ? 2e-6 : test.dtype == .float16 ? 1e-3 : 8e-3
    for set in InstructionSet.supported {
      try InstructionSet.withCurrent(set) {
        for (index, (gradient, right)) in zip(try gradients(sources), expected).enumerated() {
          #expect(gradient.shape == right.shape && gradient.dtype == sources[index].dtype)
          let error = try relativeError(gradient, right)
          #expect(error <= tolerance, "source \(index), \(set), \(test)")
        }
      }
    }
  }

  /// Split anywhere, even into single tokens, and continued, it is bit for bit the whole.
  @Test(arguments: [0, 1, 2, 5, 9]) func continuesWhereItWasCut(_ place: Int) throws {
    let test = Case()
    let sources = try test.sources()
    let whole = try test.run(sources)
    let head = try test.run([sources[0].sliced(1, 0..<place)] + sources[1...])
    var outputs = [head.output]
    var state = head.finalState
    for token in place..<9 {
      let step = try test.run(
        [sources[0].sliced(1, token..<token + 1)] + sources[1..<3] + [state])
      outputs.append(step.output)
      state = step.finalState
    }
    let joined = try Tensor.concatenated(outputs, 1).elements(as: Float.self)
    #expect(try joined == whole.output.elements(as: Float.self))
    #expect(
      try state.elements(as: Float.self) == whole.finalState.elements(as: Float.self))
  }

  @Test func namesWhatIsWrong() throws {
    func mistake(_ change: (inout [Tensor]) throws -> Void) throws -> String {
      var sources = try Case().sources()
      try change(&sources)
      let spoiled = sources
      let error = try #require(throws: AttentionError.self) { try Case().run(spoiled) }
      guard case .invalidArgument(let name, _, _) = error else { return "\(error)" }
      return name
    }
    #expect(try mistake { $0[0] = try .zeros([2, 9]) } == "inputs")
    #expect(try mistake { $0[1] = try .zeros([5, 5]) } == "weight")
    #expect(try mistake { $0[1] = try .zeros([5, 1]) } == "weight")
    #expect(try mistake { $0[1] = try .zeros([4, 4]) } == "weight")
    #expect(try mistake { $0[1] = try .zeros([5, 4], dtype: .int32) } == "dtype of weight")
    #expect(try mistake { $0[2] = try .zeros([1]) } == "bias")
    #expect(try mistake { $0[3] = try .zeros([2, 5, 4]) } == "initialState")
  }
}
