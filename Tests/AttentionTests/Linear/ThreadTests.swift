import Tensors
import Testing

@testable import Attention

/// The number of threads is global, so these run one after the other.
@Suite(.serialized) struct LinearThreadTests {
  @Test(arguments: LinearChunkedTests.decays) func resultsDoNotDependOnThreads(
    _ decay: LinearProblem.Decay
  ) throws {
    try expectEqualBits(
      LinearCase(length: 90, heads: 2, valueHeads: 4, decay: decay, normalizes: true),
      "cpu.chunked")
    try expectEqualBits(
      LinearCase(
        batch: 1, length: 1200, heads: 1, valueHeads: 1, keyDimension: 9, valueDimension: 5,
        decay: decay, update: .additiveBefore),
      "cpu.split")
  }

  @Test(arguments: ErasingTests.updates) func erasingDoesNotDependOnThreads(
    _ update: LinearProblem.Update
  ) throws {
    for kernel in ["cpu.erasing", "cpu.erasing.columns2"] {
      try expectEqualBits(
        LinearCase(
          length: 90, heads: 1, valueHeads: 2, keyDimension: 16, valueDimension: 64,
          decay: .perChannel, update: update, normalizes: true),
        kernel, step: "cpu.erasing.step")
    }
  }

  private func expectEqualBits(
    _ linearCase: LinearCase, _ kernel: String, step stepKernel: String = "cpu.step"
  ) throws {
    let arguments = try linearCase.arguments()
    let before = Threads.count
    defer { Threads.count = before }
    var results: [[[Float]]] = []
    for threads in [1, 2, 5] {
      Threads.count = threads
      let result = try arguments(kernel)
      let step = try arguments(stepKernel)
      let gradients = try arguments.gradients(kernel).sorted { $0.key < $1.key }
      results.append(
        try [result.output, result.finalState, step.output, step.finalState].map {
          try $0.elements(as: Float.self)
        } + gradients.map { try $0.value.elements(as: Float.self) })
    }
    #expect(results[0] == results[1], "\(linearCase)")
    #expect(results[0] == results[2], "\(linearCase)")
  }
}
