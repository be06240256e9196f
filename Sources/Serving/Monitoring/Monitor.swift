import Synchronization

/// Numbers about what an engine and its server have done, as `/metrics` shows them.
public final class Monitor: Sendable {
  private let values = Mutex(Values())

  struct Values: Sendable {
    var running = 0
    var waiting = 0
    var stateBytes = 0
    var prefixBytes = 0
    var prefixCount = 0
    var started = 0
    var cancelled = 0
    var promptTokens = 0
    var reusedTokens = 0
    var generatedTokens = 0
    var queueTime = Histogram()
    var firstToken = Histogram()
    var betweenTokens = Histogram()
    /// Answers by their status.
    var answers: [Int: Int] = [:]
  }

  var snapshot: Values { values.withLock { $0 } }

  func observe(running: Int, waiting: Int, stateBytes: Int, prefixes: borrowing PrefixCache) {
    let (bytes, count) = (prefixes.byteCount, prefixes.count)
    values.withLock {
      $0.running = running
      $0.waiting = waiting
      $0.stateBytes = stateBytes
      $0.prefixBytes = bytes
      $0.prefixCount = count
    }
  }

  func countStart(waited: Duration) {
    values.withLock {
      $0.started += 1
      $0.queueTime.add(waited)
    }
  }

  func countPrompt(tokens: Int, ofThemReused reused: Int) {
    values.withLock {
      $0.promptTokens += tokens
      $0.reusedTokens += reused
    }
  }

  func countFirstToken(after time: Duration) {
    values.withLock {
      $0.generatedTokens += 1
      $0.firstToken.add(time)
    }
  }

  func countToken(after time: Duration) {
    values.withLock {
      $0.generatedTokens += 1
      $0.betweenTokens.add(time)
    }
  }

  func countCancelled() { values.withLock { $0.cancelled += 1 } }

  func countAnswer(status: Int) { values.withLock { $0.answers[status, default: 0] += 1 } }
}
