import TestSupport
import AttentionTensors
import Testing

@testable import AttentionOperators

/// Each kernel individually; ``ThreadCountTests`` covers the chosen ones.
@Suite struct LinearThreadTests {
  @Test(arguments: LinearChunkedTests.decays) func resultsDoNotDependOnThreads(
    _ decay: LinearProblem.Decay
  ) throws {
    try checkKernel(
      LinearCase(length: 90, heads: 2, valueHeads: 4, decay: decay, normalizes: true),
      "cpu.chunked")
    try checkKernel(
      LinearCase(
        batch: 1, length: 1200, heads: 1, valueHeads: 1, keyDimension: 9, valueDimension: 5,
        decay: decay, update: .additiveBefore),
      "cpu.split")
  }

  @Test(arguments: ErasingTests.updates) func erasingDoesNotDependOnThreads(
    _ update: LinearProblem.Update
  ) throws {
    for kernel in ["cpu.erasing", "cpu.erasing.columns2", "cpu.split"] {
      try checkKernel(
        LinearCase(
          batch: kernel == "cpu.split" ? 1 : 2, length: kernel == "cpu.split" ? 600 : 90, heads: 1,
          valueHeads: 2, keyDimension: 16, valueDimension: 64,
          decay: .perChannel, update: update, normalizes: true),
        kernel, step: "cpu.erasing.step")
    }
  }

  private func checkKernel(
    _ linearCase: LinearCase, _ kernel: String, step stepKernel: String = "cpu.step"
  ) throws {
    let arguments = try linearCase.arguments()
    try expectSameBits("\(linearCase)") {
      let result = try arguments(kernel)
      let step = try arguments(stepKernel)
      let gradients = try arguments.gradients(kernel).sorted { $0.key < $1.key }
      return [result.output, result.finalState, step.output, step.finalState]
        + gradients.map(\.value)
    }
  }
}
