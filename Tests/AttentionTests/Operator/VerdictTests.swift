import AttentionTensors
import Testing

@testable import AttentionOperators

/// Verdicts are computed once per problem: the cached verdict must equal a fresh one.
@Suite struct VerdictTests {
  private func problem(_ dtype: DType, queries: Int) throws -> ExactProblem {
    let tokens = try Tensor.zeros([1, queries, 2, 16], dtype: dtype)
    return try OperatorCall<ExactAttention>(queries: tokens, keys: tokens, values: tokens).problem
  }

  @Test func problemsAreToldApart() throws {
    for _ in 0..<3 {
      for (queries, dtype) in [(5, DType.float32), (6, .float32), (5, .bfloat16), (5, .float64)] {
        let problem = try problem(dtype, queries: queries)
        for kernel in [nil, "cpu.reference", "cpu.unfused"] {
          let fresh = try KernelSelector.explain(
            problem, kernels: ExactAttention.kernels, forced: kernel)
          #expect(
            try ExactAttention.explain(problem, kernel: kernel) == fresh,
            "\(problem), \(kernel ?? "any kernel")")
        }
      }
    }
  }

  @Test func instructionsOfTheCallCount() throws {
    let problem = try problem(.bfloat16, queries: 200)
    func objects() throws -> Bool {
      try ExactAttention.explain(problem).candidates.contains {
        $0.kernel == "cpu.tiled.bfloat16" && $0.objection != nil
      }
    }
    for set in InstructionSet.supported {
      let expected = set.kernels.has_bf16 == 0
      #expect(try InstructionSet.withCurrent(set) { try objects() } == expected, "\(set)")
    }
  }

  @Test func refusalsAreRepeated() throws {
    let tokens = try Tensor.zeros([1, 3, 2, 16], dtype: .float64)
    for _ in 0..<2 {
      let refusal = #expect(throws: AttentionError.self) {
        try attention(queries: tokens, keys: tokens, values: tokens, kernel: "cpu.decode")
      }
      #expect(refusal?.description.contains("was float64") == true)
      #expect(throws: AttentionError.self) {
        try attention(queries: tokens, keys: tokens, values: tokens, kernel: "cpu.none")
      }
    }
  }

  /// A formula counts the pairs inside a band.
  @Test func pairsOfABandAreThoseThatAreSeen() {
    let windows = [
      nil, Window(left: 0, right: 0), Window(left: 2, right: nil), Window(left: nil, right: 3),
      Window(left: 50, right: 1),
    ]
    for (queries, keys) in [(0, 0), (0, 4), (4, 0), (1, 1), (3, 7), (7, 3), (20, 20)] {
      for window in windows {
        for isCausal in [false, true] {
          for alignment in Alignment.allCases {
            let band = Band(isCausal, alignment, window, queries: queries, keys: keys)
            let seen = (0..<queries).reduce(0) {
              $0 + band.visibleKeys(rows: $1..<$1 + 1, keys: keys).count
            }
            #expect(
              band.pairs(queries: queries, keys: keys) == seen,
              "\(queries) × \(keys), \(window as Any), causal \(isCausal), \(alignment)")
          }
        }
      }
    }
  }
}
