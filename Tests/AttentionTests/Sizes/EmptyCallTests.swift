import AttentionTensors
import TestSupport
import Testing

@testable import AttentionOperators

/// Calls without tokens, however large their other axes, take no memory and no time: their states are unchanged,
/// their outputs have no elements, and zeros are stored once.
@Suite(.serialized) struct EmptyCallTests {
  /// The most bytes that `body` holds of the pool.
  private func memory(_ body: () throws -> Void) rethrows -> Int {
    let before = MemoryPool.resetPeak()
    try body()
    return MemoryPool.peakBytes - before
  }

  private static let little = 1 << 20

  private func zeros(_ shape: Shape) throws -> Tensor { try .zeros(shape) }

  @Test func aScanOfManyChannels() throws {
    let x = try zeros([1, 0, 1 << 30])
    let taken = try memory {
      let result = try gatedScan(inputs: x, decay: x)
      #expect(result.output.shape == [1, 0, 1 << 30])
      #expect(result.finalState.shape == [1, 1 << 30])
      #expect(try result.finalState.sliced(1, 7..<8).item() == 0)
    }
    #expect(taken < Self.little)
  }

  @Test func linearAttentionOfManyValues() throws {
    let q = try zeros([1, 0, 1, 8])
    let v = try zeros([1, 0, 1, 1 << 24])
    let taken = try memory {
      let result = try linearAttention(queries: q, keys: q, values: v)
      #expect(result.finalState.shape == [1, 1, 8, 1 << 24])
      let slots = try gatedSlotAttention(
        queries: q, keys: q, values: v, decay: zeros([1, 0, 1, 4]))
      #expect(slots.finalValueState.shape == [1, 1, 4, 1 << 24])
    }
    #expect(taken < Self.little)
  }

  @Test func attentionOfManySequences() throws {
    let q = try zeros([1 << 24, 0, 1024, 8])
    let taken = try memory {
      let result = try attention(queries: q, keys: q, values: q)
      #expect(result.output.shape == q.shape)
      #expect(result.logSumExp.shape == [1 << 24, 1024, 0])
    }
    #expect(taken < Self.little)
  }

  @Test func aSelectiveScanAndAConvolutionOfManySequences() throws {
    let x = try zeros([1 << 20, 0, 64])
    let states = try zeros([1 << 20, 0, 16])
    let taken = try memory {
      let result = try selectiveScan(
        inputs: x, step: x, stateMatrix: zeros([64, 16]), inputMatrix: states, outputMatrix: states)
      #expect(result.finalState.shape == [1 << 20, 64, 16])
      let convolution = try shortConvolution(inputs: x, weight: zeros([64, 4]))
      #expect(convolution.finalState.shape == [1 << 20, 64, 3])
    }
    #expect(taken < Self.little)
  }

  /// The gradient of the final state is passed on to the initial state.
  @Test func gradientsPassThrough() throws {
    let state = try normal([2, 3, 4, 5], 1).tracked()
    let q = try zeros([2, 0, 3, 4]).tracked()
    let v = try zeros([2, 0, 3, 5]).tracked()
    let decay = try zeros([3]).tracked()
    let beta = try zeros([2, 0, 3]).tracked()
    let result = try linearAttention(
      queries: q, keys: q, values: v, decay: decay, update: .delta(beta: beta), initialState: state)
    let incoming = try normal([2, 3, 4, 5], 2)
    let gradients = try (result.finalState * incoming).sum().gradients(
      of: [state, decay, q, v, beta])
    #expect(try gradients[0].elements(as: Float.self) == incoming.elements(as: Float.self))
    #expect(try gradients[1].elements(as: Float.self) == [0, 0, 0])
    #expect(gradients[2...].map(\.shape) == [q.shape, v.shape, beta.shape])

    let hidden = try normal([2, 6], 3).tracked()
    let x = try zeros([2, 0, 6]).tracked()
    let scanned = try gatedScan(inputs: x, decay: x, initialState: hidden).finalState
    let weight = try normal([2, 6], 4)
    let passed = try (scanned * weight).sum().gradients(of: [hidden, x])
    #expect(try passed[0].elements(as: Float.self) == weight.elements(as: Float.self))
    #expect(passed[1].shape == x.shape)
  }

  /// Keys that no query attends to have gradients of zero.
  @Test func keysWithoutQueries() throws {
    let q = try zeros([2, 0, 4, 8]).tracked()
    let k = try normal([2, 5, 2, 8], 1).tracked()
    let sinks = try normal([4], 2).tracked()
    let result = try attention(
      queries: q, keys: k, values: k, terms: ScoreTerms(sinks: sinks))
    let gradients = try result.output.sum().gradients(of: [q, k, sinks])
    #expect(gradients[0].shape == q.shape)
    #expect(try gradients[1].elements(as: Float.self).allSatisfy { $0 == 0 })
    #expect(try gradients[2].elements(as: Float.self) == [0, 0, 0, 0])
  }

  private func normal(_ shape: Shape, _ seed: UInt64) throws -> Tensor {
    var generator = Philox(seed: seed)
    return try .normal(shape, using: &generator)
  }
}
