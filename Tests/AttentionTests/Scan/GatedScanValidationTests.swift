import AttentionTensors
import Testing

@testable import AttentionOperators

@Suite struct GatedScanValidationTests {
  struct Arguments {
    var inputs: Tensor
    var decay: Tensor
    var initialState: Tensor?
    var cumulativeLengths: Tensor?
    var kernel: String?
  }

  /// A call with one invalid argument, and the name that the error must give.
  struct Mistake: CustomStringConvertible, Sendable {
    let description: String
    let names: String
    let spoil: @Sendable (inout Arguments) throws -> Void
  }

  static let mistakes: [Mistake] = [
    Mistake(description: "inputs of rank 2", names: "inputs") { $0.inputs = try .zeros([5, 4]) },
    Mistake(description: "no channels", names: "inputs") { $0.inputs = try .zeros([2, 5, 0]) },
    Mistake(description: "integer inputs", names: "dtype of inputs") {
      $0.inputs = try .zeros([2, 5, 4], dtype: .int32)
    },
    Mistake(description: "shorter decay", names: "decay") { $0.decay = try .zeros([2, 4, 4]) },
    Mistake(description: "boolean decay", names: "dtype of decay") {
      $0.decay = try .zeros([2, 5, 4], dtype: .bool)
    },
    Mistake(description: "one state", names: "initialState") {
      $0.initialState = try .zeros([1, 4])
    },
    Mistake(description: "integer state", names: "dtype of initialState") {
      $0.initialState = try .zeros([2, 4], dtype: .int64)
    },
    Mistake(description: "packing with a batch", names: "inputs") {
      $0.cumulativeLengths = try Tensor([0, 5] as [Int32])
    },
    Mistake(description: "falling lengths", names: "cumulativeLengths") {
      $0.inputs = try .zeros([1, 5, 4])
      $0.decay = try .zeros([1, 5, 4])
      $0.cumulativeLengths = try Tensor([0, 3, 2, 5] as [Int32])
    },
  ]

  private static func run(_ arguments: Arguments) throws -> GatedScanResult {
    try gatedScan(
      inputs: arguments.inputs, decay: arguments.decay, initialState: arguments.initialState,
      cumulativeLengths: arguments.cumulativeLengths, kernel: arguments.kernel)
  }

  @Test(arguments: mistakes) func namesWhatIsWrong(_ mistake: Mistake) throws {
    var arguments = Arguments(inputs: try .zeros([2, 5, 4]), decay: try .zeros([2, 5, 4]))
    try mistake.spoil(&arguments)
    let spoiled = arguments
    let error = try #require(throws: AttentionError.self) { try Self.run(spoiled) }
    guard case .invalidArgument(let name, _, _) = error else {
      Issue.record("\(mistake): \(error)")
      return
    }
    #expect(name == mistake.names)
  }

  @Test func kernelsObject() throws {
    let wide = try Tensor.zeros([1, 5, 4], dtype: .float64)
    let narrow = try Tensor.zeros([1, 5, 4])
    #expect(throws: AttentionError.self) {
      try Self.run(Arguments(inputs: wide, decay: wide, kernel: "cpu.scan"))
    }
    #expect(throws: AttentionError.self) {
      try Self.run(Arguments(inputs: narrow, decay: narrow, kernel: "cpu.blocked"))
    }
    #expect(throws: AttentionError.self) {
      try Self.run(Arguments(inputs: narrow, decay: narrow, kernel: "cpu.tree"))
    }
    let chosen = try Self.run(Arguments(inputs: wide, decay: wide)).explanation.chosen
    #expect(chosen == "cpu.reference")
  }

  /// Broadcast views of little memory have extents whose costs would overflow; so do empty tensors.
  @Test(arguments: [
    [1 << 40, 0, 4], [1 << 25, 1, 1], [1, 1 << 42, 1 << 8],
  ]) func extentsAreCountable(_ shape: [Int]) throws {
    let row = try Tensor.zeros([1]).contiguous()
    let tokens = try row.expanded(to: Shape(shape))
    let states = try row.expanded(to: [shape[2], 16])
    let read = try row.expanded(to: [shape[0], shape[1], 16])
    for isSelective in [false, true] {
      let error = #expect(throws: AttentionError.self) {
        try isSelective
          ? OperatorCall<SelectiveScan>(
            inputs: tokens, step: tokens, stateMatrix: states, inputMatrix: read,
            outputMatrix: read
          ).explanation(needsGradient: true)
          : OperatorCall<GatedScan>(
            inputs: tokens, decay: tokens, cumulativeLengths: nil
          ).explanation(needsGradient: true)
      }
      #expect(error.map { "\($0)".hasPrefix("inputs is") } ?? false)
    }
  }
}
