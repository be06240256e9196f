import AttentionTensors
import TestSupport
import Testing

@testable import AttentionOperators

/// Scans and the short convolution on a GPU compared with the CPU. The options of scans are covered by the
/// conformance cases.
@Suite(.onGPU, .serialized) struct DeviceScanTests {
  @Test(arguments: ShortConvolutionTests.cases)
  func convolutionAgreesWithTheProcessor(_ convolution: ShortConvolutionTests.Case) throws {
    func results(on device: Device) throws -> [Tensor] {
      let sources = try convolution.sources().map { try $0.moved(to: device).tracked() }
      let result = try convolution.run(sources)
      var generator = Philox(seed: 3, label: convolution.description)
      let (output, state) = (result.output, result.finalState)
      #expect(output.device == device && state.device == device)
      let weights = try Tensor.normal(output.shape, using: &generator, dtype: output.dtype)
      let stateWeights = try Tensor.normal(state.shape, using: &generator)
      let gradients = try Tensor.gradients(
        of: sources,
        through: [(output, weights.moved(to: device)), (state, stateWeights.moved(to: device))])
      return [output.detached(), state.detached()] + gradients
    }
    let tolerance =
      switch convolution.dtype {
      case .bfloat16: 1e-2
      case .float16: 2e-3
      default: 1e-5
      }
    for (index, pair) in try zip(results(on: GPU.device), results(on: .cpu)).enumerated() {
      #expect(try relativeError(pair.0, pair.1) <= tolerance, "result \(index), \(convolution)")
    }
  }

  /// Pieces of a long sequence add to the weight's gradient one after the other.
  @Test func aLongConvolutionAgreesWithTheProcessor() throws {
    try convolutionAgreesWithTheProcessor(
      ShortConvolutionTests.Case(batch: 1, length: 300, channels: 130))
  }

  /// A gate close to 1 is not rounded to 1, which would accumulate over tokens to 5·10⁻⁵.
  @Test func slowGatesKeepTheirDigits() throws {
    let length = 4_000
    let inputs = try Tensor.ones([1, length, 2]).contiguous()
    let decay = try Tensor([-3e-5, -1e-4] as [Float]).expanded(to: [1, length, 2]).contiguous()
    let expected = try gatedScan(
      inputs: inputs.cast(to: .float64), decay: decay.cast(to: .float64), kernel: "cpu.reference")
    let result = try gatedScan(
      inputs: inputs.moved(to: GPU.device), decay: decay.moved(to: GPU.device))
    #expect(result.explanation.chosen == "cuda.scan")
    #expect(try relativeError(result.output, expected.output) <= 1e-5)
    #expect(try relativeError(result.finalState, expected.finalState) <= 1e-5)
  }

  @Test func scansTakeTensorsOfOneDevice() throws {
    let x = try Tensor.ones([1, 3, 2])
    let onDevice = try x.moved(to: GPU.device)
    let error = AttentionError.invalidArgument(
      "decay", was: "on cpu", mustBe: "on cuda:0 like the inputs")
    #expect(throws: error) { try gatedScan(inputs: onDevice, decay: x) }
    #expect(throws: AttentionError.self) {
      try gatedScan(inputs: onDevice, decay: onDevice, kernel: "cpu.scan")
    }
    #expect(throws: AttentionError.self) { try gatedScan(inputs: x, decay: x, kernel: "cuda.scan") }
    let matrix = try Tensor.ones([2, 1])
    #expect(
      throws: AttentionError.invalidArgument(
        "stateMatrix", was: "on cpu", mustBe: "on cuda:0 like the inputs")
    ) {
      try selectiveScan(
        inputs: onDevice, step: onDevice, stateMatrix: matrix,
        inputMatrix: Tensor.ones([1, 3, 1], device: GPU.device),
        outputMatrix: Tensor.ones([1, 3, 1], device: GPU.device))
    }
    #expect(
      throws: AttentionError.invalidArgument(
        "weight", was: "on cpu", mustBe: "on cuda:0 like the inputs")
    ) { try shortConvolution(inputs: onDevice, weight: Tensor.ones([2, 4])) }
  }

  /// More channels than slots, so that a block processes several groups of them, and more states than one round
  /// of the lanes.
  @Test func selectiveScanAddsTheChannelsOfASlot() throws {
    var generator = Philox(seed: 5, label: "selective slots")
    let (d, s, length) = (530, 17, 20)
    let inputs = [
      try Tensor.normal([1, length, d], using: &generator),
      try .uniform([1, length, d], from: 0.001, to: 0.1, using: &generator),
      try .uniform([d, s], from: -16, to: -0.5, using: &generator),
      try .normal([1, length, s], using: &generator),
      try .normal([1, length, s], using: &generator),
    ]
    let weights = try Tensor.normal([1, length, d], using: &generator)
    func gradients(on device: Device) throws -> [Tensor] {
      let own = try inputs.map { try $0.moved(to: device).tracked() }
      let result = try selectiveScan(
        inputs: own[0], step: own[1], stateMatrix: own[2], inputMatrix: own[3],
        outputMatrix: own[4])
      return try (result.output * weights.moved(to: device)).sum().gradients(of: own)
    }
    for (index, pair) in try zip(gradients(on: GPU.device), gradients(on: .cpu)).enumerated() {
      #expect(try relativeError(pair.0, pair.1) <= 1e-4, "gradient \(index)")
    }
  }
}
