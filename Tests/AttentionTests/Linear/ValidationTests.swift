import AttentionTensors
import Testing

@testable import AttentionOperators

@Suite struct LinearValidationTests {
  /// A call with one invalid argument, and the name that the error must give.
  struct Mistake: CustomStringConvertible, Sendable {
    let description: String
    let names: String
    let spoil: @Sendable (inout LinearCase.Arguments) throws -> Void
  }

  static let mistakes: [Mistake] = [
    Mistake(description: "queries of rank 3", names: "queries") {
      $0.queries = try .zeros([2, 3, 4])
    },
    Mistake(description: "no heads", names: "queries") { $0.queries = try .zeros([2, 3, 0, 4]) },
    Mistake(description: "integer queries", names: "dtype of queries") {
      $0.queries = try .zeros([2, 5, 2, 4], dtype: .int32)
    },
    Mistake(description: "shorter keys", names: "keys") { $0.keys = try .zeros([2, 4, 2, 4]) },
    Mistake(description: "half keys", names: "dtype of keys") {
      $0.keys = try $0.keys.cast(to: .bfloat16)
    },
    Mistake(description: "value heads that no head divides", names: "values") {
      $0.values = try .zeros([2, 5, 3, 6])
    },
    Mistake(description: "values of another batch", names: "values") {
      $0.values = try .zeros([1, 5, 4, 6])
    },
    Mistake(description: "half values", names: "dtype of values") {
      $0.values = try $0.values.cast(to: .float16)
    },
    Mistake(description: "decay of query heads", names: "decay") {
      $0.decay = try .zeros([2, 5, 2])
    },
    Mistake(description: "decay of no shape", names: "decay") { $0.decay = try .zeros([]) },
    Mistake(description: "integer decay", names: "dtype of decay") {
      $0.decay = try .zeros([4], dtype: .int32)
    },
    Mistake(description: "beta a channel", names: "beta") {
      $0.update = .delta(beta: try .zeros([2, 5, 4, 4]))
    },
    Mistake(description: "integer beta", names: "dtype of beta") {
      $0.update = .delta(beta: try .zeros([2, 5, 4], dtype: .int32))
    },
    Mistake(description: "read keys of query heads", names: "readKeys") {
      $0.update = .generalizedDelta(readKeys: try .zeros([2, 5, 2, 4]))
    },
    Mistake(description: "a of values", names: "a") {
      $0.update = .lowRank(a: try .zeros([2, 5, 4, 6]), b: try .zeros([2, 5, 4, 4]))
    },
    Mistake(description: "integer b", names: "dtype of b") {
      $0.update = .lowRank(
        a: try .zeros([2, 5, 4, 4]), b: try .zeros([2, 5, 4, 4], dtype: .int32))
    },
    Mistake(description: "a bonus a token", names: "bonus") {
      $0.update = .additiveBefore(bonus: try .zeros([2, 5, 4, 4]))
    },
    Mistake(description: "state of query heads", names: "initialState") {
      $0.initialState = try .zeros([2, 2, 4, 6])
    },
    Mistake(description: "boolean state", names: "dtype of initialState") {
      $0.initialState = try .zeros([2, 4, 4, 6], dtype: .bool)
    },
    Mistake(description: "packing with a batch", names: "queries") {
      $0.cumulativeLengths = try Tensor([0, 5] as [Int32])
    },
    Mistake(description: "floating-point lengths", names: "dtype of cumulativeLengths") {
      $0.cumulativeLengths = try Tensor([0, 5] as [Float])
    },
    Mistake(description: "no lengths", names: "cumulativeLengths") {
      $0.cumulativeLengths = try Tensor([] as [Int32])
    },
  ]

  private static func arguments() throws -> LinearCase.Arguments {
    try LinearCase(
      length: 5, heads: 2, valueHeads: 4, keyDimension: 4, valueDimension: 6
    ).arguments()
  }

  @Test(arguments: mistakes) func namesWhatIsWrong(_ mistake: Mistake) throws {
    var arguments = try Self.arguments()
    try mistake.spoil(&arguments)
    let spoiled = arguments
    let error = try #require(throws: AttentionError.self) { try spoiled(nil) }
    guard case .invalidArgument(let name, _, _) = error else {
      Issue.record("\(mistake): \(error)")
      return
    }
    #expect(name == mistake.names)
  }

  @Test(arguments: [[1, 5], [0, 4], [0, 3, 2, 5], [0, 9, 5], [0, -1, 5]])
  func packedLengthsMustRise(_ bounds: [Int32]) throws {
    var linearCase = LinearCase(length: 5)
    linearCase.packed = [0, 5]
    var arguments = try linearCase.arguments()
    arguments.cumulativeLengths = try Tensor(bounds)
    arguments.initialState = nil
    let spoiled = arguments
    let error = try #require(throws: AttentionError.self) { try spoiled(nil) }
    #expect("\(error)".hasPrefix("cumulativeLengths is"))
  }

  /// Broadcast views of little memory have extents whose costs would overflow; so do empty tensors.
  @Test(arguments: [
    [1 << 40, 0, 2, 4], [1, 1 << 40, 64, 256], [1, 1 << 22, 1, 1 << 22], [1, 0, 1, 1 << 31],
    [1 << 25, 1, 1, 1],
  ]) func extentsAreCountable(_ shape: [Int]) throws {
    let row = try Tensor.zeros([1]).contiguous()
    let tokens = try row.expanded(to: Shape(shape))
    for update in [
      LinearUpdate.additive, .delta(beta: try row.expanded(to: Shape(shape.dropLast()))),
    ] {
      for needsGradient in [false, true] {
        let error = try #require(throws: AttentionError.self) {
          try OperatorCall<LinearAttention>(
            queries: tokens, keys: tokens, values: tokens, decay: tokens, update: update
          ).explanation(needsGradient: needsGradient)
        }
        guard case .invalidArgument(let name, _, _) = error else {
          Issue.record("\(error)")
          continue
        }
        #expect(["queries", "keys", "values"].contains(name), "\(error)")
      }
    }
    // Exact attention supports every dimension: it rejects these, or estimates their cost.
    do {
      let verdict = try OperatorCall<ExactAttention>(
        queries: tokens, keys: tokens, values: tokens
      ).explanation(needsGradient: true)
      #expect(shape[3] > 1 << 20 && verdict.chosen != nil, "\(verdict)")
    } catch {
      #expect(error is AttentionError, "\(error)")
    }
  }

  @Test func scaleMustBeFinite() throws {
    let arguments = try Self.arguments()
    #expect(throws: AttentionError.self) {
      try linearAttention(
        queries: arguments.queries, keys: arguments.keys, values: arguments.values,
        scale: .infinity)
    }
  }

  @Test func kernelsObject() throws {
    let arguments = try Self.arguments()
    let tracked = arguments.tracked()
    #expect(throws: AttentionError.self) { try tracked("cpu.step") }
    #expect(throws: AttentionError.self) { try arguments("cpu.delta") }
    let wide = try arguments.wide()
    #expect(throws: AttentionError.self) { try wide("cpu.chunked") }
    #expect(try wide(nil).explanation.chosen == "cpu.reference")
  }

  /// The step form for one token, the chunked form for a prompt or for gradients.
  @Test func choosesByLength() throws {
    func chosen(_ length: Int, needsGradient: Bool) throws -> String? {
      let tokens = try Tensor.zeros([1, length, 4, 64])
      return try OperatorCall<LinearAttention>(
        queries: tokens, keys: tokens, values: tokens
      ).explanation(needsGradient: needsGradient).chosen
    }
    #expect(try chosen(1, needsGradient: false) == "cpu.step")
    #expect(try chosen(1024, needsGradient: false) == "cpu.chunked")
    #expect(try chosen(1, needsGradient: true) == "cpu.chunked")
  }
}
