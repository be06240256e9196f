import AttentionCLibrary
import AttentionTensors
import TestSupport
import Testing

@testable import AttentionOperators

/// The named additive attentions compared with their papers' equations.
@Suite struct AdditiveNamedTests {
  private static let (b, t, h, hv, k, v) = (2, 21, 1, 2, 6, 5)
  private static let scale = 1 / Double(k).squareRoot()
  private static let identity = Matrix.diagonal(Array(repeating: 1, count: k))

  private let queries, keys, values, state: Tensor
  private let q, x, u: TokenArray

  init() throws {
    queries = try Self.normal("queries", [Self.b, Self.t, Self.h, Self.k])
    keys = try Self.normal("keys", [Self.b, Self.t, Self.h, Self.k])
    values = try Self.normal("values", [Self.b, Self.t, Self.hv, Self.v])
    state = try Self.normal("state", [Self.b, Self.hv, Self.k, Self.v])
    (q, x, u) = (try TokenArray(queries), try TokenArray(keys), try TokenArray(values))
  }

  static func normal(_ name: String, _ shape: Shape) throws -> Tensor {
    var generator = Philox(seed: 5, label: name)
    return try .normal(shape, using: &generator)
  }

  static func gates(
    _ name: String, _ shape: Shape, from low: Double = -2, to high: Double = 0
  ) throws -> Tensor {
    var generator = Philox(seed: 5, label: name)
    return try .uniform(shape, from: low, to: high, using: &generator)
  }

  private func expectEqual(
    _ result: LinearAttentionResult, _ initial: Tensor? = nil,
    sourceLocation: SourceLocation = #_sourceLocation,
    step: (_ row: Int, _ token: Int, _ head: Int, _ state: inout Matrix) -> [Double]
  ) throws {
    let naive = try naiveRecurrence(
      result.output.shape, keyDimension: Self.k, initialState: initial ?? state, step: step)
    #expect(
      try relativeError(result.output, naive.output) <= 1e-5, sourceLocation: sourceLocation)
    #expect(
      try relativeError(result.finalState, naive.finalState) <= 1e-5,
      sourceLocation: sourceLocation)
  }

  /// S = D S + k vᵀ, o = scale · Sᵀ q with a decay per head.
  private func expectFading(
    _ result: LinearAttentionResult, sourceLocation: SourceLocation = #_sourceLocation,
    decay: (_ row: Int, _ token: Int, _ head: Int) -> Double
  ) throws {
    try expectEqual(result, sourceLocation: sourceLocation) { row, token, head, state in
      state = decay(row, token, head) * state
      state = state + .outer(x.row(row, token, 0), u.row(row, token, head))
      return state.read(q.row(row, token, 0)).map { Self.scale * $0 }
    }
  }

  @Test func headsForgetAtFixedRates() throws {
    try expectFading(
      retention(queries: queries, keys: keys, values: values, initialState: state)
    ) { _, _, head in 1 - exp2(-5 - Double(head)) }
    try expectFading(
      lightningAttention(
        queries: queries, keys: keys, values: values, layer: 3, layers: 12, initialState: state)
    ) { _, _, head in exp(-8 * Double(head) / Double(Self.hv) * (1 - 3.0 / 12)) }
  }

  @Test func tokensForget() throws {
    let decay = try Self.gates("decay", [Self.b, Self.t, Self.hv])
    let g = try TokenArray(decay)
    try expectFading(
      simpleGatedLinearAttention(
        queries: queries, keys: keys, values: values, decay: decay, initialState: state)
    ) { exp(g.number($0, $1, $2)) }
  }

  @Test func stateSpaceModel() throws {
    let steps = try Self.gates("steps", [Self.b, Self.t, Self.hv], from: 0.01, to: 1)
    let rates = try Self.gates("rates", [Self.hv], from: -4, to: -0.5)
    let skip = try Self.normal("skip", [Self.hv])
    let (delta, a, d) = (try TokenArray(steps), try TokenArray(rates), try TokenArray(skip))
    try expectEqual(
      stateSpaceDuality(
        inputs: values, steps: steps, rates: rates, inputWeights: keys, outputWeights: queries,
        skip: skip, initialState: state)
    ) { row, token, head, state in
      let step = delta.number(row, token, head)
      let input = u.row(row, token, head)
      state = exp(step * a.number(head)) * state
      state = state + step * .outer(x.row(row, token, 0), input)
      return zip(state.read(q.row(row, token, 0)), input).map { $0 + d.number(head) * $1 }
    }
  }

  @Test func channelsForget() throws {
    let decay = try Self.gates("decay", [Self.b, Self.t, Self.hv, Self.k])
    let bonus = try Self.normal("bonus", [Self.hv, Self.k])
    let (g, own) = (try TokenArray(decay), try TokenArray(bonus))
    func kept(_ row: Int, _ token: Int, _ head: Int) -> Matrix {
      .diagonal(g.row(row, token, head).map { exp($0) })
    }
    try expectEqual(
      gatedLinearAttention(
        queries: queries, keys: keys, values: values, decay: decay, initialState: state)
    ) { row, token, head, state in
      state = kept(row, token, head) * state
      state = state + .outer(x.row(row, token, 0), u.row(row, token, head))
      return state.read(q.row(row, token, 0)).map { Self.scale * $0 }
    }
    try expectEqual(
      rwkv6(
        receptances: queries, keys: keys, values: values, decay: decay, bonus: bonus,
        initialState: state)
    ) { row, token, head, state in
      let pair = Matrix.outer(x.row(row, token, 0), u.row(row, token, head))
      let read = state + .diagonal(own.row(head)) * pair
      state = kept(row, token, head) * state + pair
      return read.read(q.row(row, token, 0))
    }
  }

  @Test func keysAreWhatGatesLeave() throws {
    let forget = try Self.gates("forget", [Self.b, Self.t, Self.hv, Self.k])
    let queries = try Self.normal("own queries", [Self.b, Self.t, Self.hv, Self.k])
    let (g, q) = (try TokenArray(forget), try TokenArray(queries))
    try expectEqual(
      hgrn2(queries: queries, logForget: forget, inputs: values, initialState: state)
    ) { row, token, head, state in
      let kept = g.row(row, token, head).map { exp($0) }
      state = .diagonal(kept) * state
      state = state + .outer(kept.map { 1 - $0 }, u.row(row, token, head))
      return state.read(q.row(row, token, head)).map { Self.scale * $0 }
    }
  }

  @Test func weightsSumToOne() throws {
    let (queries, keys) = (try queries.absolute(), try keys.absolute())
    let (q, x) = (try TokenArray(queries), try TokenArray(keys))
    let result = try normalizedLinearAttention(queries: queries, keys: keys, values: values)
    let naive = try naiveRecurrence(values.shape, keyDimension: Self.k) { row, token, head, _ in
      var (sum, total) = ([Double](repeating: 0, count: Self.v), 0.0)
      for s in 0...token {
        let weight = zip(q.row(row, token, 0), x.row(row, s, 0)).reduce(0) { $0 + $1.0 * $1.1 }
        total += weight
        sum = zip(sum, u.row(row, s, head)).map { $0 + weight * $1 }
      }
      return sum.map { $0 / total }
    }
    #expect(try relativeError(result.output, naive.output) <= 1e-5)
    // Continued from its state, it gives the result of the whole.
    let first = try normalizedLinearAttention(
      queries: queries.sliced(1, 0..<9), keys: keys.sliced(1, 0..<9),
      values: values.sliced(1, 0..<9))
    let rest = try normalizedLinearAttention(
      queries: queries.sliced(1, 9..<Self.t), keys: keys.sliced(1, 9..<Self.t),
      values: values.sliced(1, 9..<Self.t), initialState: first.finalState)
    #expect(try relativeError(rest.output, naive.output.sliced(1, 9..<Self.t)) <= 1e-5)
  }

  /// If no weight is above zero, ε keeps the quotient finite, in half precision too.
  @Test(arguments: [DType.float32, .bfloat16, .float16]) func emptyWeightsGiveZero(
    _ dtype: DType
  ) throws {
    let none = try Tensor.zeros([1, 3, 1, 4], dtype: dtype)
    let result = try normalizedLinearAttention(queries: none, keys: none, values: none + 1)
    #expect(result.output.dtype == dtype)
    #expect(try result.output.cast(to: .float32).elements(as: Float.self).allSatisfy { $0 == 0 })
  }

  @Test func argumentsOfOtherShapesAreNamed() throws {
    func name(_ body: () throws -> Void) throws -> String {
      let error = try #require(throws: AttentionError.self) { try body() }
      guard case .invalidArgument(let name, _, _) = error else { return "\(error)" }
      return name
    }
    let decay = try Tensor.zeros([Self.hv])
    #expect(
      try name {
        _ = try stateSpaceDuality(
          inputs: values, steps: .zeros([Self.b, Self.t, Self.hv]), rates: decay,
          inputWeights: keys, outputWeights: decay)
      } == "outputWeights")
    #expect(
      try name {
        _ = try stateSpaceDuality(
          inputs: values, steps: .zeros([Self.b, Self.t, Self.hv]), rates: decay,
          inputWeights: keys.cast(to: .bfloat16), outputWeights: keys)
      } == "dtype of inputWeights")
    #expect(
      try name {
        _ = try rwkv6(
          receptances: decay, keys: keys, values: values,
          decay: .zeros([Self.b, Self.t, Self.hv, Self.k]), bonus: .zeros([Self.hv, Self.k]))
      } == "receptances")
    let slots = try Tensor.zeros([Self.b, Self.t, Self.h, 3])
    #expect(
      try name {
        _ = try gatedSlotAttention(
          queries: queries, keys: keys, values: keys, decay: slots,
          initialKeyState: decay)
      } == "initialKeyState")
    #expect(
      try name {
        _ = try gatedSlotAttention(
          queries: queries, keys: keys, values: keys, decay: slots,
          initialValueState: decay)
      } == "initialValueState")
    #expect(
      try name {
        _ = try simpleGatedLinearAttention(
          queries: queries, keys: keys, values: values, decay: decay)
      } == "decay")
    #expect(
      try name {
        _ = try gatedLinearAttention(queries: queries, keys: keys, values: values, decay: decay)
      } == "decay")
    #expect(
      try name {
        _ = try lightningAttention(
          queries: queries, keys: keys, values: values, layer: 2, layers: 2)
      } == "layer")
    #expect(
      try name { _ = try hgrn2(queries: queries, logForget: decay, inputs: values) }
        == "logForget")
    #expect(
      try name {
        _ = try gatedSlotAttention(queries: queries, keys: keys, values: values, decay: values)
      } == "decay")
    #expect(
      try name {
        _ = try logLinearAttention(
          queries: queries, keys: keys, values: values,
          levels: .zeros([Self.b, Self.t, Self.hv, 4]))
      } == "levels")
  }
}
