import AttentionCLibrary
import AttentionTensors
import TestSupport
import Testing

@testable import AttentionOperators

@Suite struct GatedScanTests {
  static let fast = ["cpu.scan", "cpu.blocked"]

  private static func normal(_ shape: Shape, _ label: String) throws -> Tensor {
    var generator = Philox(seed: 5, label: label)
    return try .normal(shape, using: &generator)
  }

  private static func decay(_ shape: Shape) throws -> Tensor {
    try -normal(shape, "decay").absolute()
  }

  /// h_1 = h_0/2 + 3, h_2 = h_1 + 1, h_3 = 5: by hand.
  @Test(arguments: ["cpu.reference", "cpu.scan"]) func threeTokensByHand(_ kernel: String) throws {
    let result = try gatedScan(
      inputs: Tensor([3, 1, 5] as [Float], [1, 3, 1]),
      decay: Tensor([-Float(log(2.0)), 0, -.infinity], [1, 3, 1]),
      initialState: Tensor([4] as [Float], [1, 1]), kernel: kernel)
    #expect(try result.output.elements(as: Float.self) == [5, 6, 5])
    #expect(try result.finalState.elements(as: Float.self) == [5])
  }

  /// The reference's gradients compared with differences of its outputs.
  @Test func referenceGradientsAreTheDerivatives() throws {
    let inputs = try Self.normal([1, 7, 2], "inputs").cast(to: .float64).tracked()
    let decay = try Self.decay([1, 7, 2]).cast(to: .float64).tracked()
    let state = try Self.normal([3, 2], "state").cast(to: .float64).tracked()
    let weights = try Self.normal([1, 7, 2], "weights").cast(to: .float64)
    let lengths = try Tensor([0, 2, 2, 7] as [Int32])
    func loss(_ sources: [Tensor]) throws -> Tensor {
      let result = try gatedScan(
        inputs: sources[0], decay: sources[1], initialState: sources[2],
        cumulativeLengths: lengths, kernel: "cpu.reference")
      let output = try (result.output.squared() * weights).sum()
      return try output + result.finalState.squared().sum()
    }
    let sources = [inputs, decay, state]
    let gradients = try loss(sources).gradients(of: sources)
    let step = 1e-5
    for (index, gradient) in gradients.enumerated() {
      let values = try sources[index].elements(as: Double.self)
      let expected = try gradient.elements(as: Double.self)
      for place in values.indices {
        func moved(_ by: Double) throws -> Double {
          var changed = values
          changed[place] += by
          var all = sources.map { $0.detached() }
          all[index] = try Tensor(changed, sources[index].shape)
          return try loss(all).item()
        }
        let difference = try (moved(step) - moved(-step)) / (2 * step)
        #expect(abs(difference - expected[place]) < 1e-7, "source \(index), element \(place)")
      }
    }
  }

  /// With a decay of 2⁻¹² per token the state spans thousands of tokens; rounding must not accumulate over them.
  @Test(arguments: fast) func slowDecayKeepsPrecision(_ kernel: String) throws {
    let inputs = try Tensor.full([1, 3000, 3], 0.7).contiguous()
    let decay = try Tensor.full([1, 3000, 3], -0x1.1p-12).contiguous()
    let result = try gatedScan(inputs: inputs, decay: decay, kernel: kernel)
    let expected = try gatedScan(
      inputs: inputs.cast(to: .float64), decay: decay.cast(to: .float64), kernel: "cpu.reference")
    #expect(try relativeError(result.output, expected.output) <= 2e-6)
    #expect(try relativeError(result.finalState, expected.finalState) <= 2e-6)
  }

  /// A sequence may be split anywhere, with its state carried over.
  @Test(arguments: [0, 1, 64, 77, 200]) func continuesWhereItWasCut(_ place: Int) throws {
    let inputs = try Self.normal([2, 200, 9], "inputs")
    let decay = try Self.decay([2, 200, 9])
    let state = try Self.normal([2, 9], "state")
    for (first, second) in [("cpu.scan", "cpu.scan"), ("cpu.scan", "cpu.reference")] {
      let whole = try gatedScan(inputs: inputs, decay: decay, initialState: state)
      let head = try gatedScan(
        inputs: inputs.sliced(1, 0..<place), decay: decay.sliced(1, 0..<place),
        initialState: state, kernel: first)
      let tail = try gatedScan(
        inputs: inputs.sliced(1, place..<200), decay: decay.sliced(1, place..<200),
        initialState: head.finalState, kernel: second)
      let joined = try Tensor.concatenated([head.output, tail.output], 1)
      #expect(try relativeError(joined, whole.output) <= 1e-6, "\(first), \(second)")
      #expect(try relativeError(tail.finalState, whole.finalState) <= 1e-6, "\(first), \(second)")
    }
  }

  /// Packed sequences are independent: each gives the result that it gives alone.
  @Test func packedSequencesAreApart() throws {
    let lengths = [0, 30, 30, 31, 101, 165]
    let inputs = try Self.normal([1, 165, 20], "inputs")
    let decay = try Self.decay([1, 165, 20])
    let states = try Self.normal([5, 20], "states")
    let packed = try gatedScan(
      inputs: inputs, decay: decay, initialState: states,
      cumulativeLengths: Tensor(lengths.map(Int32.init)), kernel: "cpu.scan")
    for (index, (start, end)) in zip(lengths, lengths.dropFirst()).enumerated() {
      let alone = try gatedScan(
        inputs: inputs.sliced(1, start..<end), decay: decay.sliced(1, start..<end),
        initialState: states.sliced(0, index..<index + 1), kernel: "cpu.scan")
      #expect(
        try alone.output.elements(as: Float.self)
          == packed.output.sliced(1, start..<end).elements(as: Float.self))
      #expect(
        try alone.finalState.elements(as: Float.self)
          == packed.finalState.sliced(0, index..<index + 1).elements(as: Float.self))
    }
  }

  /// Results written with non-temporal stores are the same.
  @Test func largeResultsAreWhole() throws {
    let length = PastCaches.leastBytes / MemoryLayout<Float>.size / 1024 + 3
    let inputs = try Tensor.ones([1, length, 1024])
    let decay = try Tensor.full([1, length, 1024], -1)
    let result = try gatedScan(inputs: inputs, decay: decay, kernel: "cpu.scan")
    let limit = Float(1 / (1 - exp(-1.0)))
    let last = try result.output.sliced(1, length - 1..<length).elements(as: Float.self)
    #expect(last.allSatisfy { abs($0 - limit) < 1e-6 })
    #expect(try result.output.sum().item().isFinite)
  }

  /// Few channels of a long sequence are processed in blocks, many sequences in one pass.
  @Test func choosesByPieces() throws {
    func chosen(_ shape: Shape, threads: Int) throws -> String? {
      let tokens = try Tensor.zeros([shape[2]]).contiguous().expanded(to: shape)
      return try KernelSelector.explain(
        OperatorCall<GatedScan>(inputs: tokens, decay: tokens).problem, kernels: GatedScan.kernels,
        rates: MachineRates(
          operationsPerSecond: 96e9 * Double(threads), bytesPerSecond: 10e9 * Double(threads),
          threads: threads)
      ).chosen
    }
    #expect(try chosen([1, 65536, 256], threads: 8) == "cpu.blocked")
    #expect(try chosen([16, 65536, 256], threads: 8) == "cpu.scan")
    #expect(try chosen([1, 65536, 256], threads: 1) == "cpu.scan")
    #expect(try chosen([1, 1, 256], threads: 8) == "cpu.scan")
  }
}

/// Each kernel individually; ``ThreadCountTests`` covers the chosen ones.
@Suite struct GatedScanThreadTests {
  @Test(arguments: GatedScanTests.fast) func resultsDoNotDependOnThreads(_ kernel: String) throws {
    var generator = Philox(seed: 1, label: "scan threads")
    let inputs = try Tensor.normal([2, 300, 40], using: &generator).tracked()
    let decay = try -Tensor.normal([2, 300, 40], using: &generator).absolute()
    let tracked = decay.tracked()
    try expectSameBits(kernel) {
      let result = try gatedScan(inputs: inputs, decay: tracked, kernel: kernel)
      return [result.output, result.finalState]
        + (try result.output.squared().sum().gradients(of: [inputs, tracked]))
    }
  }
}
