import AttentionCLibrary
import AttentionTensors
import TestSupport
import Testing

@testable import AttentionOperators

/// Every named scan compared with its published equations, token by token in float64.
@Suite struct NamedScanTests {
  private static let (batch, length, channels, states) = (2, 70, 5, 3)

  /// float32 tensors by name, and their elements in float64.
  private struct Sample {
    var generator = Philox(seed: 8, label: "named scans")

    mutating func normal(_ shape: Shape, size: Double = 1) throws -> Tensor {
      try .normal(shape, standardDeviation: size, using: &generator)
    }

    mutating func tokens(size: Double = 1) throws -> Tensor {
      try normal(
        [NamedScanTests.batch, NamedScanTests.length, NamedScanTests.channels], size: size)
    }

    mutating func state() throws -> Tensor {
      try normal([NamedScanTests.batch, NamedScanTests.channels])
    }
  }

  /// h_t = gate_t h_{t−1} + input_t, with the gate and input that `step` returns for the number of a token and
  /// channel, and the channel.
  private static func recurrence(
    _ initial: Tensor, _ step: (_ place: Int, _ channel: Int) -> (gate: Double, input: Double)
  ) throws -> Tensor {
    var h = try initial.elements(as: Double.self)
    var output: [Double] = []
    for row in 0..<batch {
      for token in 0..<length {
        for channel in 0..<channels {
          let place = (row * length + token) * channels + channel
          let (gate, input) = step(place, channel)
          h[row * channels + channel] = gate * h[row * channels + channel] + input
          output.append(h[row * channels + channel])
        }
      }
    }
    return try Tensor(output, [batch, length, channels])
  }

  private static func sigmoid(_ x: Double) -> Double { 1 / (1 + exp(-x)) }

  private static func expect(
    _ result: Tensor, _ expected: Tensor, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    #expect(result.dtype == .float32, sourceLocation: sourceLocation)
    #expect(try relativeError(result, expected) <= 1e-6, sourceLocation: sourceLocation)
  }

  @Test func hgrnIsItsEquation() throws {
    var sample = Sample()
    let (c, f, state) = (try sample.tokens(), try sample.tokens(size: 4), try sample.state())
    let bound = try Tensor([0.01, 0.3, 0.9, 0.5, 0.999] as [Float])
    let (cs, fs) = (try c.elements(as: Double.self), try f.elements(as: Double.self))
    let bounds = try bound.elements(as: Double.self)
    for lowerBound in [nil, bound] {
      let expected = try Self.recurrence(state) { place, channel in
        let least = lowerBound == nil ? 0 : bounds[channel]
        let gate = least + (1 - least) * Self.sigmoid(fs[place])
        return (gate, (1 - least) * Self.sigmoid(-fs[place]) * cs[place])
      }
      try Self.expect(
        hgrn(candidates: c, forgetLogits: f, lowerBound: lowerBound, initialState: state).output,
        expected)
    }
  }

  /// A bounded gate within 10⁻⁶ of 1 keeps the digits of 1 − gate.
  @Test func hgrnKeepsGatesNearOne() throws {
    let logits = try Tensor.full([1, 1, 1], 14).contiguous()
    let zeros = try Tensor.zeros([1, 1, 1]).contiguous()
    let bound = try Tensor([0.5] as [Float])
    let state = try Tensor([1] as [Float], [1, 1]).tracked()
    let result = try hgrn(
      candidates: zeros, forgetLogits: logits, lowerBound: bound, initialState: state)
    let forgotten = 0.5 * Self.sigmoid(-14)
    // The gradient of log λ would lose precision first; λ itself is exact to a rounding.
    #expect(try abs(result.finalState.item() - (1 - forgotten)) < 1e-7)
    let decay = try logits.logSigmoid() - (logits - bound.logarithm()).logSigmoid()
    #expect(try abs(decay.item() / -forgotten - 1) < 1e-5)
  }

  @Test func minGRUIsItsEquation() throws {
    var sample = Sample()
    let (v, k, state) = (try sample.tokens(), try sample.tokens(size: 3), try sample.state())
    let (vs, ks) = (try v.elements(as: Double.self), try k.elements(as: Double.self))
    let expected = try Self.recurrence(state) { place, _ in
      let z = Self.sigmoid(ks[place])
      return (1 - z, z * vs[place])
    }
    try Self.expect(
      minGRU(candidates: v, updateLogits: k, initialState: state).output, expected)
  }

  @Test func minLSTMIsItsEquation() throws {
    var sample = Sample()
    let (v, kf, ki) = (try sample.tokens(), try sample.tokens(size: 3), try sample.tokens(size: 3))
    let state = try sample.state()
    let vs = try v.elements(as: Double.self)
    let (fs, inputs) = (try kf.elements(as: Double.self), try ki.elements(as: Double.self))
    let expected = try Self.recurrence(state) { place, _ in
      let (f, i) = (Self.sigmoid(fs[place]), Self.sigmoid(inputs[place]))
      return (f / (f + i), i / (f + i) * vs[place])
    }
    try Self.expect(
      minLSTM(candidates: v, forgetLogits: kf, inputLogits: ki, initialState: state).output,
      expected)
  }

  @Test func rglruIsItsEquation() throws {
    var sample = Sample()
    let (x, r, i) = (try sample.tokens(), try sample.tokens(), try sample.tokens())
    let (lambda, state) = (try sample.normal([Self.channels]) + 4.0, try sample.state())
    let xs = try x.elements(as: Double.self)
    let (rs, gates) = (try r.elements(as: Double.self), try i.elements(as: Double.self))
    let rates = try lambda.elements(as: Double.self)
    let expected = try Self.recurrence(state) { place, channel in
      let a = pow(Self.sigmoid(rates[channel]), 8 * Self.sigmoid(rs[place]))
      return (a, (1 - a * a).squareRoot() * Self.sigmoid(gates[place]) * xs[place])
    }
    try Self.expect(
      realGatedLinearRecurrentUnit(
        inputs: x, recurrenceLogits: r, inputLogits: i, decayLogits: lambda, initialState: state
      ).output, expected)
  }

  @Test func mambaIsItsEquation() throws {
    var sample = Sample()
    let (b, t, d, s) = (Self.batch, Self.length, Self.channels, Self.states)
    let (x, z, step) = (try sample.tokens(), try sample.tokens(), try sample.tokens())
    let (bias, skip) = (try sample.normal([d]) - 3.0, try sample.normal([d]))
    let (matrix, state) = (try sample.normal([d, s]), try sample.normal([b, d, s]))
    let (written, read) = (try sample.normal([b, t, s]), try sample.normal([b, t, s]))
    func numbers(_ tensor: Tensor) throws -> [Double] { try tensor.elements(as: Double.self) }
    let (xs, zs, steps) = (try numbers(x), try numbers(z), try numbers(step))
    let (biases, skips) = (try numbers(bias), try numbers(skip))
    let (logs, bs, cs) = (try numbers(matrix), try numbers(written), try numbers(read))
    var h = try numbers(state)
    var expected: [Double] = []
    for row in 0..<b {
      for token in row * t..<(row + 1) * t {
        for channel in 0..<d {
          let place = token * d + channel
          let delta = log(1 + exp(steps[place] + biases[channel]))
          var y = skips[channel] * xs[place]
          for n in 0..<s {
            let own = (row * d + channel) * s + n
            h[own] =
              exp(-delta * exp(logs[channel * s + n])) * h[own]
              + delta * bs[token * s + n] * xs[place]
            y += cs[token * s + n] * h[own]
          }
          expected.append(y * zs[place] * Self.sigmoid(zs[place]))
        }
      }
    }
    let result = try mamba(
      inputs: x, gate: z, step: step, stepBias: bias, logStateMatrix: matrix,
      inputMatrix: written, outputMatrix: read, skip: skip, initialState: state)
    try Self.expect(result.output, Tensor(expected, [b, t, d]))
    try Self.expect(result.finalState, Tensor(h, [b, d, s]))
  }

  /// Half precision keeps the dtype, computes gates in float32, and has gradients.
  @Test(arguments: [DType.bfloat16, .float16]) func halfPrecisionKeepsItsGates(
    _ dtype: DType
  ) throws {
    var sample = Sample()
    let v = try sample.tokens().cast(to: dtype)
    // Gates of 1 − e^−9 round to 1 in half precision.
    let k = try (sample.tokens() - 9.0).cast(to: dtype)
    let exact = try minGRU(
      candidates: v.cast(to: .float64), updateLogits: k.cast(to: .float64))
    let tracked = [v.tracked(), k.tracked()]
    let result = try minGRU(candidates: tracked[0], updateLogits: tracked[1])
    #expect(result.output.dtype == dtype)
    #expect(try relativeError(result.output, exact.output) <= 1e-2)
    let gradients = try result.output.cast(to: .float32).sum().gradients(of: tracked)
    #expect(gradients.allSatisfy { $0.dtype == dtype })
  }
}
