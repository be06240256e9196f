import Tensors
import Testing

@testable import Attention

/// The number of threads is global, so these run one after the other.
@Suite(.serialized) struct LinearThreadTests {
  @Test(arguments: LinearChunkedTests.decays) func resultsDoNotDependOnThreads(
    _ decay: LinearProblem.Decay
  ) throws {
    let linearCase = LinearCase(
      length: 90, heads: 2, valueHeads: 4, decay: decay, normalizes: true)
    let arguments = try linearCase.arguments()
    let before = Threads.count
    defer { Threads.count = before }
    var results: [[[Float]]] = []
    for threads in [1, 2, 3] {
      Threads.count = threads
      let result = try arguments("cpu.chunked")
      let step = try arguments("cpu.step")
      let gradients = try arguments.gradients("cpu.chunked").sorted { $0.key < $1.key }
      results.append(
        try [result.output, result.finalState, step.output, step.finalState].map {
          try $0.elements(as: Float.self)
        } + gradients.map { try $0.value.elements(as: Float.self) })
    }
    #expect(results[0] == results[1], "\(linearCase)")
    #expect(results[0] == results[2], "\(linearCase)")
  }
}
