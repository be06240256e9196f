import AttentionCLibrary
import AttentionTensors
import TestSupport
import Testing

@testable import AttentionOperators

/// The named erasing attentions compared with their papers' equations.
@Suite struct ErasingNamedTests {
  private static let (b, t, h, hv, k, v) = (2, 21, 1, 2, 6, 5)
  private static let identity = Matrix.diagonal(Array(repeating: 1, count: k))
  private static let scale = 1 / Double(k).squareRoot()

  private let queries, keys, values, state: Tensor

  init() throws {
    queries = try Self.normal("queries", [Self.b, Self.t, Self.h, Self.k])
    keys = try Self.normal("keys", [Self.b, Self.t, Self.h, Self.k])
    values = try Self.normal("values", [Self.b, Self.t, Self.hv, Self.v])
    state = try Self.normal("state", [Self.b, Self.hv, Self.k, Self.v])
  }

  private static func normal(_ name: String, _ shape: Shape) throws -> Tensor {
    var generator = Philox(seed: 3, label: name)
    return try .normal(shape, using: &generator)
  }

  private static func gates(
    _ name: String, _ shape: Shape, from low: Double = 0, to high: Double = 1
  ) throws -> Tensor {
    var generator = Philox(seed: 3, label: name)
    return try .uniform(shape, from: low, to: high, using: &generator)
  }

  private func expectEqual(
    _ result: LinearAttentionResult, sourceLocation: SourceLocation = #_sourceLocation,
    step: (_ row: Int, _ token: Int, _ head: Int, _ state: inout Matrix) -> [Double]
  ) throws {
    let naive = try naiveRecurrence(
      values.shape.rank == 4 ? values.shape : [Self.b, Self.t, Self.hv, Self.v],
      keyDimension: Self.k, initialState: state, step: step)
    #expect(result.output.shape == naive.output.shape, sourceLocation: sourceLocation)
    #expect(
      try relativeError(result.output, naive.output) <= 1e-5, sourceLocation: sourceLocation)
    #expect(
      try relativeError(result.finalState, naive.finalState) <= 1e-5,
      sourceLocation: sourceLocation)
  }

  /// o = scale · Sᵀ q
  private func output(_ state: Matrix, _ query: [Double]) -> [Double] {
    state.read(query).map { Self.scale * $0 }
  }

  @Test func deltaRules() throws {
    let beta = try Self.gates("beta", [Self.b, Self.t, Self.hv], to: 2)
    let shared = try Self.gates("shared", [Self.b, Self.t, Self.hv], from: -2, to: 0)
    let own = try Self.gates("own", [Self.b, Self.t, Self.hv, Self.k], from: -2, to: 0)
    let (q, x, u) = (try TokenArray(queries), try TokenArray(keys), try TokenArray(values))
    let (rate, one, each) = (try TokenArray(beta), try TokenArray(shared), try TokenArray(own))
    func step(
      _ row: Int, _ token: Int, _ head: Int, _ state: inout Matrix, _ decay: Matrix
    ) -> [Double] {
      let (key, beta) = (x.unit(row, token, 0), rate.number(row, token, head))
      state =
        (Self.identity - beta * .outer(key, key)) * decay * state
        + beta * .outer(key, u.row(row, token, head))
      return output(state, q.unit(row, token, 0))
    }
    try expectEqual(
      deltaNet(queries: queries, keys: keys, values: values, beta: beta, initialState: state)
    ) { step($0, $1, $2, &$3, Self.identity) }
    try expectEqual(
      gatedDeltaNet(
        queries: queries, keys: keys, values: values, decay: shared, beta: beta,
        initialState: state)
    ) { step($0, $1, $2, &$3, exponential(one.number($0, $1, $2)) * Self.identity) }
    try expectEqual(
      kimiDeltaAttention(
        queries: queries, keys: keys, values: values, decay: own, beta: beta, initialState: state)
    ) { step($0, $1, $2, &$3, .diagonal(each.row($0, $1, $2).map(exponential))) }
  }

  @Test func erasesAndWritesThroughGatesOfTheirOwn() throws {
    let decay = try Self.gates("decay", [Self.b, Self.t, Self.hv, Self.k], from: -2, to: 0)
    let erase = try Self.gates("erase", [Self.b, Self.t, Self.hv, Self.k])
    let write = try Self.gates("write", [Self.b, Self.t, Self.hv, Self.v])
    let (q, x, u) = (try TokenArray(queries), try TokenArray(keys), try TokenArray(values))
    let (g, e, w) = (try TokenArray(decay), try TokenArray(erase), try TokenArray(write))
    try expectEqual(
      gatedDeltaNet2(
        queries: queries, keys: keys, values: values, decay: decay, eraseGate: erase,
        writeGate: write, initialState: state)
    ) { row, token, head, state in
      let key = x.unit(row, token, 0)
      let read = zip(e.row(row, token, head), key).map { $0 * $1 }
      let value = zip(w.row(row, token, head), u.row(row, token, head)).map { $0 * $1 }
      let alpha = Matrix.diagonal(g.row(row, token, head).map(exponential))
      state = (Self.identity - .outer(key, read)) * alpha * state + .outer(key, value)
      return output(state, q.unit(row, token, 0))
    }
  }

  @Test func feedsBackStateAndOutput() throws {
    let decay = try Self.gates("decay", [Self.b, Self.t, Self.hv], from: -2, to: 0)
    let beta = try Self.gates("beta", [Self.b, Self.t, Self.hv])
    let feedback = try Self.gates("feedback", [Self.hv])
    let correction = try Self.gates("correction", [Self.h])
    let (q, x, u) = (try TokenArray(queries), try TokenArray(keys), try TokenArray(values))
    let (g, rate) = (try TokenArray(decay), try TokenArray(beta))
    let (weaken, correct) = (try TokenArray(feedback), try TokenArray(correction))
    try expectEqual(
      comba(
        queries: queries, keys: keys, values: values, decay: decay, beta: beta,
        feedback: feedback, correction: correction, initialState: state)
    ) { row, token, head, state in
      let (key, beta) = (x.unit(row, token, 0), rate.number(row, token, head))
      let alpha = exponential(g.number(row, token, head))
      let kept = alpha * Self.identity - (weaken.number(head) * beta) * .outer(key, key)
      state = kept * state + beta * .outer(key, u.row(row, token, head))
      let query = zip(q.unit(row, token, 0), key).map { $0 - correct.number(0) * $1 }
      return output(state, query)
    }
  }

  @Test(arguments: [1, 3]) func updatesSeveralTimesAToken(_ updates: Int) throws {
    let keys = try Self.normal("many keys", [Self.b, Self.t, updates, Self.h, Self.k])
    let values = try Self.normal("many values", [Self.b, Self.t, updates, Self.hv, Self.v])
    let beta = try Self.gates("beta", [Self.b, Self.t, updates, Self.hv], to: 2)
    let decay = try Self.gates("decay", [Self.b, Self.t, Self.hv], from: -2, to: 0)
    let (q, x, u) = (try TokenArray(queries), try TokenArray(keys), try TokenArray(values))
    let (g, rate) = (try TokenArray(decay), try TokenArray(beta))
    try expectEqual(
      gatedDeltaProduct(
        queries: queries, keys: keys, values: values, decay: decay, beta: beta,
        initialState: state)
    ) { row, token, head, state in
      state = exponential(g.number(row, token, head)) * state
      for update in 0..<updates {
        let key = x.unit(row, token, update, 0)
        let beta = rate.number(row, token, update, head)
        state =
          (Self.identity - beta * .outer(key, key)) * state
          + beta * .outer(key, u.row(row, token, update, head))
      }
      return output(state, q.unit(row, token, 0))
    }
  }

  /// Cumulative lengths count tokens, not updates.
  @Test func packsTokensOfSeveralUpdates() throws {
    let (length, updates) = (9, 2)
    let queries = try Self.normal("queries", [1, length, 1, Self.k])
    let keys = try Self.normal("keys", [1, length, updates, 1, Self.k])
    let values = try Self.normal("values", [1, length, updates, 1, Self.v])
    let beta = try Self.gates("beta", [1, length, updates, 1])
    let packed = try gatedDeltaProduct(
      queries: queries, keys: keys, values: values, beta: beta,
      cumulativeLengths: Tensor([0, 4, 4, 9] as [Int32]))
    let last = try gatedDeltaProduct(
      queries: queries.sliced(1, 4..<9), keys: keys.sliced(1, 4..<9),
      values: values.sliced(1, 4..<9), beta: beta.sliced(1, 4..<9))
    #expect(
      try relativeError(packed.output.sliced(1, 4..<9), last.output) <= 1e-5)
    #expect(try relativeError(packed.finalState.sliced(0, 2..<3), last.finalState) <= 1e-5)
  }

  @Test func removesAndReplaces() throws {
    let decay = try Self.gates("decay", [Self.b, Self.t, Self.hv, Self.k], from: -2, to: 0)
    let removal = try Self.normal("removal", [Self.b, Self.t, Self.hv, Self.k]).unitVectors()
    let rates = try Self.gates("rates", [Self.b, Self.t, Self.hv, Self.k])
    let (r, x, u) = (try TokenArray(queries), try TokenArray(keys), try TokenArray(values))
    let (g, kappa, a) = (try TokenArray(decay), try TokenArray(removal), try TokenArray(rates))
    try expectEqual(
      rwkv7(
        receptances: queries, keys: keys, values: values, decay: decay, removalKeys: removal,
        learningRates: rates, initialState: state)
    ) { row, token, head, state in
      let removed = kappa.row(row, token, head)
      let added = zip(a.row(row, token, head), removed).map { $0 * $1 }
      let kept = Matrix.diagonal(g.row(row, token, head).map(exponential))
      state =
        (kept - .outer(added, removed)) * state
        + .outer(x.row(row, token, 0), u.row(row, token, head))
      return state.read(r.row(row, token, 0))
    }
  }

  @Test func gatesOfOtherShapesAreNamed() throws {
    let gate = try Tensor.zeros([Self.b, Self.t, Self.hv])
    let error = try #require(throws: AttentionError.self) {
      try gatedDeltaNet2(
        queries: queries, keys: keys, values: values,
        decay: .zeros([Self.b, Self.t, Self.hv, Self.k]), eraseGate: gate, writeGate: values)
    }
    #expect("\(error)".hasPrefix("eraseGate is"))
    // Queries of a broadcastable shape are as invalid as those without axes.
    for wrong in try [queries.sliced(1, 0..<1), Tensor.zeros([]), queries.cast(to: .int32)] {
      for call in [
        { () throws -> LinearAttentionResult in
          try gatedDeltaNet2(
            queries: wrong, keys: keys, values: values,
            decay: .zeros([Self.b, Self.t, Self.hv, Self.k]),
            eraseGate: .zeros([Self.b, Self.t, Self.hv, Self.k]), writeGate: values)
        },
        {
          try comba(
            queries: wrong, keys: keys, values: values, decay: gate, beta: gate,
            feedback: .zeros([Self.hv]), correction: .zeros([Self.h]))
        },
      ] {
        let error = try #require(throws: AttentionError.self) { try call() }
        #expect("\(error)".contains("queries is"))
      }
    }
    let rows = try Tensor.zeros([Self.b, Self.t, Self.hv, Self.k])
    let receptances = try #require(throws: AttentionError.self) {
      try rwkv7(
        receptances: gate, keys: keys, values: values, decay: rows, removalKeys: rows,
        learningRates: rows)
    }
    #expect("\(receptances)".hasPrefix("receptances is"))
    #expect(throws: AttentionError.self) {
      try gatedDeltaProduct(queries: queries, keys: keys, values: values, beta: gate)
    }
  }

  /// The gradients of a sum of outputs reach every argument, through the normalisation too.
  @Test func gradientsReachTheGates() throws {
    let decay = try Self.gates("decay", [Self.b, Self.t, Self.hv], from: -2, to: 0).tracked()
    let beta = try Self.gates("beta", [Self.b, Self.t, Self.hv]).tracked()
    let feedback = try Self.gates("feedback", [Self.hv]).tracked()
    let correction = try Self.gates("correction", [Self.h]).tracked()
    let sources = [queries.tracked(), keys.tracked(), values.tracked()]
    func loss(_ feedback: Tensor) throws -> Tensor {
      try comba(
        queries: sources[0], keys: sources[1], values: sources[2], decay: decay, beta: beta,
        feedback: feedback, correction: correction
      ).output.sum()
    }
    let all = sources + [decay, beta, feedback, correction]
    let gradients = try loss(feedback).gradients(of: all)
    for (gradient, source) in zip(gradients, all) { #expect(gradient.shape == source.shape) }
    let step = 1e-2
    let difference =
      try (loss(feedback.detached() + step).item() - loss(feedback.detached() - step).item())
      / (2 * step)
    let derivative = try gradients[5].sum().item()
    #expect(abs(difference - derivative) <= 1e-2 * abs(derivative))
  }
}

/// For `map`, which takes no overloaded name.
private func exponential(_ x: Double) -> Double { exp(x) }
