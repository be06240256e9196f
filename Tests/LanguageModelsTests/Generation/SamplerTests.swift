import AttentionCLibrary
import AttentionTensors
import Testing

@testable import AttentionLanguageModels

@Suite struct SamplerTests {
  /// Shifted logarithms of 0.5, 0.25, 0.15 and 0.1, out of order: tokens 2, 0, 3, 1.
  private let logits: [Float] = [0.25, 0.1, 0.5, 0.15].map { Float(log($0)) + 7 }

  /// The frequency of each token in 4000 draws.
  private func frequencies(_ change: (inout GenerationOptions) -> Void) throws -> [Double] {
    var options = GenerationOptions()
    options.seed = 3
    change(&options)
    var sampler = try Sampler(options)
    var counts = [Double](repeating: 0, count: logits.count)
    let draws = 4000
    for _ in 0..<draws { counts[Int(try sampler.next(logits))] += 1 }
    return counts.map { $0 / Double(draws) }
  }

  /// The standard deviation of a frequency in n draws is √(p(1−p)/n), at most 0.008; five of them are allowed.
  private func expect(
    _ actual: [Double], _ expected: [Double], sourceLocation: SourceLocation = #_sourceLocation
  ) {
    for (a, b) in zip(actual, expected) {
      #expect(b == 0 ? a == 0 : abs(a - b) < 0.04, sourceLocation: sourceLocation)
    }
  }

  @Test func draws() throws {
    expect(try frequencies { _ in }, [0.25, 0.1, 0.5, 0.15])
    expect(try frequencies { $0.topK = 2 }, [1 / 3.0, 0, 2 / 3.0, 0])
    expect(try frequencies { $0.topK = 9 }, [0.25, 0.1, 0.5, 0.15])
    // 0.5 + 0.25 reaches 0.6; 0.5 alone does not.
    expect(try frequencies { $0.topP = 0.6 }, [1 / 3.0, 0, 2 / 3.0, 0])
    expect(try frequencies { $0.topP = 0.3 }, [0, 0, 1, 0])
    expect(try frequencies { $0.topP = 1 }, [0.25, 0.1, 0.5, 0.15])
    // Of the two most likely, ⅔ and ⅓, the first reaches 0.6.
    expect(
      try frequencies {
        $0.topK = 2
        $0.topP = 0.6
      }, [0, 0, 1, 0])
    // p² ∝ 0.0625, 0.01, 0.25, 0.0225
    expect(
      try frequencies { $0.temperature = 0.5 }, [0.0625, 0.01, 0.25, 0.0225].map { $0 / 0.345 })
    expect(try frequencies { $0.temperature = 0 }, [0, 0, 1, 0])
    expect(try frequencies { $0.temperature = 1e-9 }, [0, 0, 1, 0])
  }

  @Test func oddLogits() throws {
    var sampler = try Sampler(GenerationOptions())
    #expect(throws: GenerationError.notANumber(token: 1)) { try sampler.next([0, .nan]) }
    #expect(throws: GenerationError.self) { try sampler.next([]) }
    for _ in 0..<50 {
      #expect(try sampler.next([-.infinity, 3, -.infinity]) == 1)
      #expect(try sampler.next([.infinity, 3]) == 0)
      #expect(try sampler.next([-3e38, 3e38]) == 1)
    }
    #expect(try sampler.next([-.infinity, -.infinity]) == 0)
  }

  @Test func optionsThatMakeNoSenseAreNamed() {
    let wrong: [(String, (inout GenerationOptions) -> Void)] = [
      ("temperature", { $0.temperature = -1 }), ("temperature", { $0.temperature = .nan }),
      ("topK", { $0.topK = 0 }), ("topP", { $0.topP = 0 }), ("topP", { $0.topP = 1.1 }),
      ("topP", { $0.topP = .nan }), ("maximumTokens", { $0.maximumTokens = -1 }),
      ("stopSequences", { $0.stopSequences = [[1], []] }),
      ("prefillLength", { $0.prefillLength = 0 }),
    ]
    for (name, change) in wrong {
      var options = GenerationOptions()
      change(&options)
      let error = #expect(throws: GenerationError.self) { try options.validate() }
      guard case .invalidArgument(name, _, _)? = error else {
        Issue.record("\(name): \(String(describing: error))")
        continue
      }
    }
  }
}
