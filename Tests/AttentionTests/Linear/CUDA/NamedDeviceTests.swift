import AttentionTensors
import TestSupport
import Testing

@testable import AttentionOperators

/// Every named recurrence on a GPU compared with the CPU: results, and gradients of all inputs and states.
@Suite(.onGPU, .serialized) struct NamedDeviceTests {
  typealias Recurrence = NamedContinuationTests.Recurrence
  typealias Part = NamedContinuationTests.Part

  @Test(arguments: NamedContinuationTests.recurrences)
  func agreesWithTheProcessor(_ recurrence: Recurrence) throws {
    let bounds = [0, 0, 1, 20, 20, 37]
    var part = try NamedContinuationTests.part(
      recurrence, length: 37, sequences: bounds.count - 1)
    part.lengths = try Tensor(bounds.map(Int32.init))
    let expected = try results(recurrence, part, on: .cpu)
    for (name, tensor) in try results(recurrence, part, on: GPU.device) {
      let error = try relativeError(tensor, #require(expected[name]))
      #expect(error <= (name.hasPrefix("gradient") ? 1e-4 : 1e-5), "\(name) of \(recurrence)")
    }
  }

  private func results(_ recurrence: Recurrence, _ part: Part, on device: Device) throws
    -> [String: Tensor]
  {
    var moved = part
    moved.inputs = try part.inputs.mapValues { try $0.moved(to: device).tracked() }
    moved.states = try part.states.map { try $0.moved(to: device).tracked() }
    let result = try recurrence.call(moved)
    var generator = Philox(seed: 4, label: recurrence.description)
    var loss = try Tensor.zeros([], device: device)
    var results = ["output": result.output.detached()]
    for (index, tensor) in ([result.output] + result.states).enumerated() {
      #expect(tensor.device == device, "\(recurrence)")
      let weights = try Tensor.normal(tensor.shape, using: &generator).moved(to: device)
      loss = try loss + (tensor.cast(to: .float32) * weights).sum()
      if index > 0 { results["state \(index)"] = tensor.detached() }
    }
    let names = moved.inputs.keys.sorted()
    let gradients = try loss.gradients(of: names.map { moved[$0] } + moved.states)
    for (index, gradient) in gradients.enumerated() {
      results[
        "gradient of \(index < names.count ? names[index] : "state \(index - names.count)")"] =
        gradient
    }
    return results
  }

  @Test(arguments: [1, 64, 150]) func logLinearAgreesWithTheProcessor(length: Int) throws {
    var generator = Philox(seed: 6, label: "log-linear \(length)")
    let (h, hv, k, v) = (1, 2, 6, 5)
    let inputs = [
      try Tensor.normal([2, length, h, k], using: &generator),
      try .normal([2, length, h, k], using: &generator),
      try .normal([2, length, hv, v], using: &generator),
      try .uniform([2, length, hv], from: -1, to: 0, using: &generator),
      try .uniform(
        [2, length, hv, logLinearLevels(length: length)], from: 0, to: 1, using: &generator),
    ]
    let weights = try Tensor.normal([2, length, hv, v], using: &generator)
    func results(on device: Device) throws -> [Tensor] {
      let own = try inputs.map { try $0.moved(to: device).tracked() }
      let output = try logLinearAttention(
        queries: own[0], keys: own[1], values: own[2], decay: own[3], levels: own[4])
      #expect(output.device == device)
      let loss = try (output * weights.moved(to: device)).sum()
      return try [output.detached()] + loss.gradients(of: own)
    }
    for (index, pair) in try zip(results(on: GPU.device), results(on: .cpu)).enumerated() {
      let error = try relativeError(pair.0, pair.1)
      #expect(error <= (index == 0 ? 1e-5 : 1e-4), "result \(index) of length \(length)")
    }
  }
}
