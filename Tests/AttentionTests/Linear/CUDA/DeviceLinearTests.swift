import AttentionTensors
import TestSupport
import Testing

@testable import AttentionOperators

extension LinearCase.Arguments {
  /// The same on `device`; the cumulative lengths, which determine the launch, stay on the host.
  func moved(to device: Device) throws -> LinearCase.Arguments {
    var copy = self
    copy.queries = try queries.moved(to: device)
    copy.keys = try keys.moved(to: device)
    copy.values = try values.moved(to: device)
    copy.decay = try decay?.moved(to: device)
    copy.update = try update.mapTensors { try $0.moved(to: device) }
    copy.initialState = try initialState?.moved(to: device)
    copy.outputGradient = try outputGradient.moved(to: device)
    copy.finalStateGradient = try finalStateGradient.moved(to: device)
    return copy
  }
}

@Suite(.onGPU, .serialized) struct DeviceLinearTests {
  static let updates: [LinearProblem.Update] = [
    .additive, .additiveBefore, .delta, .generalizedDelta, .lowRank,
  ]

  private static func kernel(_ update: LinearProblem.Update) -> String {
    update.isErasing ? "cuda.erasing" : "cuda.chunked"
  }

  /// Every update with every decay, at lengths around the chunk of 16 and sizes around the tiles.
  static let cases: [LinearCase] = {
    let lengths = [0, 1, 15, 16, 17, 33, 50]
    let dimensions = [(1, 1), (20, 33), (32, 16), (33, 70), (130, 5), (64, 64)]
    var cases: [LinearCase] = []
    for update in updates {
      for decay in LinearChunkedTests.decays {
        let number = cases.count
        let (k, v) = dimensions[number % dimensions.count]
        cases.append(
          LinearCase(
            length: lengths[number % lengths.count], heads: 2, valueHeads: number % 2 == 0 ? 2 : 4,
            keyDimension: k, valueDimension: v, decay: decay, update: update,
            hasInitialState: number % 3 > 0,
            // With one element, the gradient of a unit vector is a difference of the size of ε.
            normalizes: k > 1 && (update.isErasing || number % 4 == 0)))
      }
      cases.append(
        LinearCase(
          length: 37, heads: 1, valueHeads: 2, keyDimension: 256, valueDimension: 40,
          decay: .perChannel, update: update, normalizes: true))
      cases.append(
        LinearCase(
          length: 71, valueHeads: 4, keyDimension: 12, valueDimension: 9, decay: .perToken,
          update: update, packed: [0, 0, 1, 17, 17, 70, 71, 71], normalizes: true))
      cases.append(
        LinearCase(
          length: 20, dtype: .bfloat16, decay: .perChannel, update: update, normalizes: true,
          layout: .transposed))
    }
    return cases
  }()

  @Test(arguments: cases) func agreesWithTheReference(_ linearCase: LinearCase) throws {
    let arguments = try linearCase.arguments()
    let reference = try arguments.wide()("cpu.reference")
    let gradients = try arguments.wide().gradients("cpu.reference")
    let onDevice = try arguments.moved(to: GPU.device)
    let (tolerance, gradientTolerance) = linearCase.dtype == .bfloat16 ? (1e-2, 1e-2) : (1e-5, 1e-4)
    for kernel in [Self.kernel(linearCase.update), "cuda.step"] {
      let result = try onDevice(kernel)
      #expect(result.output.device == GPU.device)
      #expect(
        try relativeError(result.output, reference.output) <= tolerance, "\(kernel), \(linearCase)")
      #expect(
        try relativeError(result.finalState, reference.finalState) <= 1e-5,
        "final state of \(kernel), \(linearCase)")
    }
    for (name, gradient) in try onDevice.gradients(nil) {
      #expect(gradient.device == GPU.device)
      let error = try relativeError(gradient, #require(gradients[name]))
      // The terms of the gradient of a decay per head cancel.
      let limit = gradientTolerance * (name == "decay" && linearCase.decay == .perHead ? 30 : 1)
      #expect(error <= limit, "gradient of \(name), \(linearCase)")
    }
  }

  /// A gate of −∞ forgets everything before it, and its gradient is zero.
  @Test(arguments: updates) func closedGatesForget(_ update: LinearProblem.Update) throws {
    var arguments = try LinearCase(length: 40, decay: .perToken, update: update, normalizes: true)
      .arguments()
    let closed = 21
    let flags = (0..<2 * 40 * 2).map { $0 / 2 % 40 == closed }
    arguments.decay = try .select(
      Tensor(flags, [2, 40, 2]), .full([], -.infinity), #require(arguments.decay) * 0.1)
    let onDevice = try arguments.moved(to: GPU.device)
    for kernel in [Self.kernel(update), "cuda.step"] {
      let expected = try arguments.wide()("cpu.reference")
      let result = try onDevice(kernel)
      #expect(try relativeError(result.output, expected.output) <= 1e-5, "\(kernel) \(update)")
      #expect(try relativeError(result.finalState, expected.finalState) <= 1e-5)
    }
    let gradients = try onDevice.gradients(nil)
    let expected = try arguments.wide().gradients("cpu.reference")
    for (name, gradient) in gradients {
      #expect(try relativeError(gradient, #require(expected[name])) <= 1e-4, "\(name) \(update)")
    }
  }

  /// A sequence split anywhere, with its state carried over, gives the same result with either kernel.
  @Test(arguments: updates) func continuesWhereItWasCut(_ update: LinearProblem.Update) throws {
    let linearCase = LinearCase(
      length: 50, valueHeads: 4, decay: .perChannel, update: update, normalizes: true)
    let arguments = try linearCase.arguments().moved(to: GPU.device)
    let chunked = Self.kernel(update)
    let whole = try arguments(chunked)
    for (place, kernels) in [
      (0, [chunked, chunked]), (16, [chunked, "cuda.step"]), (23, ["cuda.step", chunked]),
      (50, ["cuda.step", "cuda.step"]),
    ] {
      let first = try arguments.sliced(0..<place, from: arguments.initialState)(kernels[0])
      let second = try arguments.sliced(place..<50, from: first.finalState)(kernels[1])
      let output = try Tensor.concatenated([first.output, second.output], 1)
      #expect(try relativeError(output, whole.output) <= 1e-5, "cut at \(place), \(linearCase)")
      #expect(try relativeError(second.finalState, whole.finalState) <= 1e-5)
    }
  }

  /// Heads that share a query head, and slices of the values' columns, are added in a fixed order.
  @Test(arguments: updates) func runsGiveTheSameBits(_ update: LinearProblem.Update) throws {
    let arguments = try LinearCase(
      length: 40, heads: 1, valueHeads: 3, keyDimension: 40, valueDimension: 150,
      decay: .perToken, update: update, normalizes: true
    ).arguments().moved(to: GPU.device)
    let first = try arguments.gradients(nil).mapValues { try $0.elements(as: Float.self) }
    let second = try arguments.gradients(nil).mapValues { try $0.elements(as: Float.self) }
    #expect(first == second)
  }

  @Test func operandsMustBeOnOneDevice() throws {
    let update = LinearProblem.Update.lowRank
    let arguments = try LinearCase(length: 3, update: update).arguments()
    let places: [(String, WritableKeyPath<LinearCase.Arguments, Tensor>)] = [
      ("keys", \.keys), ("values", \.values),
    ]
    for (name, path) in places {
      var mixed = try arguments.moved(to: GPU.device)
      mixed[keyPath: path] = arguments[keyPath: path]
      #expect(
        throws: AttentionError.invalidArgument(
          name, was: "on cpu", mustBe: "on cuda:0 like the queries")
      ) { try mixed(nil) }
    }
    var mixed = try arguments.moved(to: GPU.device)
    mixed.update = arguments.update
    #expect(
      throws: AttentionError.invalidArgument(
        "a", was: "on cpu", mustBe: "on cuda:0 like the queries")
    ) { try mixed(nil) }
  }

  @Test func kernelsOfOtherDevicesObject() throws {
    let arguments = try LinearCase(length: 3).arguments()
    #expect(throws: AttentionError.self) { try arguments("cuda.chunked") }
    let onDevice = try arguments.moved(to: GPU.device)
    #expect(throws: AttentionError.self) { try onDevice("cpu.chunked") }
    #expect(try onDevice(nil).explanation.chosen?.hasPrefix("cuda.") == true)
  }

  @Test func keysThatAreTooLongAreAnObjection() throws {
    let arguments = try LinearCase(length: 2, keyDimension: 257).arguments()
      .moved(to: GPU.device)
    for kernel in ["cuda.chunked", "cuda.step"] {
      #expect(
        throws: AttentionError.kernelObjects(
          kernel, Objection("key dimension 257; needs at most 256"))
      ) { try arguments(kernel) }
    }
  }
}
