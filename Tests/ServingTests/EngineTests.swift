import AttentionLanguageModels
import Testing

@testable import AttentionServing

@Suite struct EngineTests {
  /// What came of a task.
  private struct Outcome {
    var text = ""
    var reused: Int?
    var reason: FinishReason?
    var count = 0
    var failure: GenerationFailure?
  }

  private func outcomes(_ submission: Engine.Submission, _ count: Int = 1) async -> [Outcome] {
    var outcomes = [Outcome](repeating: Outcome(), count: count)
    for await event in submission.events {
      switch event.event {
      case .begun(let reused): outcomes[event.index].reused = reused
      case .text(let text, _): outcomes[event.index].text += text
      case .finished(let reason, let count):
        outcomes[event.index].reason = reason
        outcomes[event.index].count = count
      case .failed(let failure): outcomes[event.index].failure = failure
      }
    }
    return outcomes
  }

  /// Prompts of one token, of whole pieces, and of others.
  private static let prompts = [1, 15, 16, 17, 32, 33, 50, 100].map { length in
    String(String(repeating: "func f(x: Int) { x * 3 } ", count: 5).prefix(length))
  }

  @Test func everySequenceIsTheOneThatItIsAlone() async throws {
    let server = try TinyServer { $0.runningSequences = 5 }
    defer { server.engine.stop() }
    // All at once, each three times, so that some continue from the states of others.
    let tasks = try (0..<3).flatMap { _ in try Self.prompts.map { try server.task($0, 30) } }
    let answers = await outcomes(
      try server.engine.submit(tasks, client: "a"), tasks.count)
    for (index, answer) in answers.enumerated() {
      let prompt = Self.prompts[index % Self.prompts.count]
      #expect(answer.text == (try server.alone(prompt, 30)), "prompt \(prompt)")
      #expect(answer.reason == .length)
      #expect(answer.count == 30)
    }
    #expect(server.engine.isIdle)
  }

  @Test func statesAreReusedAtTheEndsOfPieces() async throws {
    let server = try TinyServer()
    defer { server.engine.stop() }
    func reused(_ prompt: String) async throws -> Int? {
      let answer = await outcomes(
        try server.engine.submit([server.task(prompt, 12)], client: "a"))[0]
      #expect(answer.text == (try server.alone(prompt, 12)))
      return answer.reused
    }
    let prompt = Self.prompts[6]
    #expect(try await reused(prompt) == 0)
    #expect(try await reused(prompt) == 50)
    // Behind the last whole piece another prompt is read anew.
    #expect(try await reused(prompt + "!") == 48)
    #expect(try await reused(String(prompt.prefix(40)) + "!!") == 32)
    #expect(try await reused("!" + prompt) == 0)
  }

  @Test func withoutMemoryForPrefixesNothingIsReused() async throws {
    let server = try TinyServer { $0.prefixBytes = 0 }
    defer { server.engine.stop() }
    for _ in 0..<2 {
      let answer = await outcomes(
        try server.engine.submit([server.task(Self.prompts[6], 2)], client: "a"))[0]
      #expect(answer.reused == 0)
    }
  }

  @Test func sequencesEndWhenNobodyReadsThem() async throws {
    let server = try TinyServer { $0.answerTokens = 1_000_000 }
    defer { server.engine.stop() }
    let reader = Task {
      for await event in try server.engine.submit(
        [server.task("a", 1_000_000), server.task("b", 1_000_000)], client: "a"
      ).events {
        if case .text = event.event { return }
      }
    }
    try await reader.value
    while !server.engine.isIdle { try await Task.sleep(for: .milliseconds(1)) }
    #expect(server.engine.monitor.snapshot.cancelled == 2)
  }

  @Test func sequencesEndWhenTheyAreCancelled() async throws {
    let server = try TinyServer()
    defer { server.engine.stop() }
    let submission = try server.engine.submit([server.task("a", 1_000_000)], client: "a")
    submission.cancel()
    let answer = await outcomes(submission)[0]
    #expect(answer.reason == nil && answer.failure == nil)
    #expect(server.engine.monitor.snapshot.cancelled == 1)
    while !server.engine.isIdle { try await Task.sleep(for: .milliseconds(1)) }
  }

  @Test func requestsTooManyTooLargeOrTooLateAreRefused() async throws {
    let server = try TinyServer {
      $0.waitingSequences = 3
      $0.runningSequences = 1
      $0.stateBytes = 1 << 20
    }
    defer { server.engine.stop() }
    #expect(throws: Engine.Refusal.full) {
      try server.engine.submit(
        [GenerationTask](repeating: server.task("a", 9), count: 4), client: "a")
    }
    #expect {
      try server.engine.submit([server.task("a", 1 << 20)], client: "a")
    } throws: { error in
      if case Engine.Refusal.tooLarge(let needed, 1 << 20) = error {
        needed > 1 << 20
      } else {
        false
      }
    }
    let running = try server.engine.submit([server.task("a", 200)], client: "a")
    server.engine.drain()
    #expect(throws: Engine.Refusal.draining) {
      try server.engine.submit([server.task("a", 9)], client: "a")
    }
    #expect(await outcomes(running)[0].count == 200)
  }

  @Test func lateSequencesFail() async throws {
    let server = try TinyServer { $0.requestSeconds = 0.05 }
    defer { server.engine.stop() }
    let answer = await outcomes(
      try server.engine.submit([server.task("a", 1_000_000)], client: "a"))[0]
    guard case .timeout? = answer.failure else {
      Issue.record("\(answer)")
      return
    }
  }

  @Test func clientsTakeTurns() {
    var queue = FairQueue<Int>()
    for element in 1...3 { queue.append(element, of: "a") }
    for element in 4...5 { queue.append(element, of: "b") }
    queue.append(6, of: "c")
    queue.removeAll { $0 == 5 }
    #expect(queue.count == 5)
    var order: [Int] = []
    while let first = queue.first {
      order.append(first)
      queue.removeFirst()
    }
    #expect(order == [1, 4, 6, 2, 3])
    #expect(queue.isEmpty)
  }
}
