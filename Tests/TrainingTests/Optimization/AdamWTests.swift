import AttentionCLibrary
import AttentionTensors
import TestSupport
import Testing

@testable import AttentionTraining

@Suite struct AdamWTests {
  /// The definition in float64, step by step for one parameter.
  private struct Reference {
    let optimizer: AdamW
    var parameter: [Double]
    var first: [Double]
    var second: [Double]
    var step = 0

    init(_ optimizer: AdamW, _ parameter: [Float]) {
      self.optimizer = optimizer
      self.parameter = parameter.map(Double.init)
      first = parameter.map { _ in 0 }
      second = first
    }

    mutating func advance(_ gradient: [Float], scale: Double, rate: Double, decay: Double) {
      step += 1
      for i in parameter.indices {
        let g = Double(gradient[i]) * scale
        first[i] = optimizer.beta1 * first[i] + (1 - optimizer.beta1) * g
        second[i] = optimizer.beta2 * second[i] + (1 - optimizer.beta2) * g * g
        let mean = first[i] / (1 - pow(optimizer.beta1, Double(step)))
        let square = second[i] / (1 - pow(optimizer.beta2, Double(step)))
        let move = mean / (square.squareRoot() + optimizer.epsilon)
        parameter[i] -= rate * (move + decay * parameter[i])
      }
    }
  }

  /// RMS(x − y) / RMS(y)
  private func error(_ values: [Float], _ reference: [Double]) -> Double {
    var difference = 0.0
    var size = 0.0
    for (value, expected) in zip(values, reference) {
      difference += (Double(value) - expected) * (Double(value) - expected)
      size += expected * expected
    }
    return (difference / size).squareRoot()
  }

  @Test func stepsFollowTheDefinition() throws {
    var random = Philox(seed: 5)
    let optimizer = AdamW(beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.3)
    // A matrix of several blocks with a remainder, a vector, and an empty tensor.
    let shapes: [Shape] = [[131, 257], [77], [0]]
    var parameters = try shapes.map { try Tensor.normal($0, using: &random) }
    var references = try parameters.map { Reference(optimizer, try $0.elements()) }
    var state = try AdamW.State(for: parameters)
    for step in 0..<5 {
      let gradients = try shapes.map { try Tensor.normal($0, using: &random) }
      let rate = 0.01 * Double(step + 1)
      let update = try optimizer.step(
        parameters, gradients: gradients, clip: GradientClip(norm: 1, factor: 0.7), rate: rate,
        state: state)
      for index in references.indices {
        references[index].advance(
          try gradients[index].elements(), scale: 0.7, rate: rate,
          decay: shapes[index].rank >= 2 ? 0.3 : 0)
      }
      parameters = update.parameters
      state = update.state
    }
    #expect(state.step == 5)
    #expect(parameters.map(\.shape) == shapes)
    // Each step rounds a few times: 5 steps stay below 1e-6 with float32's 6e-8.
    let tolerance = 1e-6
    for index in 0..<2 {
      let reference = references[index]
      #expect(try error(parameters[index].elements(), reference.parameter) < tolerance)
      #expect(try error(state.firstMoments[index].elements(), reference.first) < tolerance)
      #expect(try error(state.secondMoments[index].elements(), reference.second) < tolerance)
    }
  }

  @Test func transposedGradientsAreReadAsTheyAreShaped() throws {
    let gradient = try Tensor([1, 2, 3, 4, 5, 6].map(Float.init), [3, 2])
    let parameters = [try Tensor.zeros([2, 3])]
    let state = try AdamW.State(for: parameters)
    let seen = try AdamW().step(
      parameters, gradients: [gradient.transposed()], rate: 1, state: state)
    let plain = try AdamW().step(
      parameters, gradients: [gradient.transposed().contiguous()], rate: 1, state: state)
    #expect(
      try seen.state.firstMoments[0].elements(as: Float.self)
        == plain.state.firstMoments[0].elements(as: Float.self))
  }

  @Test func threadsDoNotChangeTheResult() throws {
    var random = Philox(seed: 6)
    let parameters = [try Tensor.normal([300, 301], using: &random)]
    let gradients = [try Tensor.normal([300, 301], using: &random)]
    let state = try AdamW.State(for: parameters)
    func result(threads: Int) throws -> ([Float], Double) {
      try withThreads(threads) {
        let update = try AdamW().step(parameters, gradients: gradients, rate: 0.1, state: state)
        return (try update.parameters[0].elements(), try GradientNorm.norm(of: gradients))
      }
    }
    #expect(try result(threads: 1) == result(threads: 3))
  }

  @Test func argumentsThatDoNotAgreeAreNamed() throws {
    let parameters = [try Tensor.zeros([2, 3])]
    let state = try AdamW.State(for: parameters)
    func error(_ parameters: [Tensor], _ gradients: [Tensor]) -> String? {
      let error = #expect(throws: TrainingError.self) {
        _ = try AdamW().step(parameters, gradients: gradients, rate: 1, state: state)
      }
      return error?.description
    }
    #expect(error(parameters, []) == "gradients is 0 tensors; it must be 1, one per parameter")
    #expect(
      try error(parameters, [.zeros([3, 2])])
        == "gradients[0] is float32 [3, 2]; it must be float32 [2, 3]")
    #expect(
      try error([.zeros([2, 3], dtype: .float64)], [.zeros([2, 3])])
        == "parameters[0] is float64 [2, 3]; it must be float32 [2, 3]")
  }
}
