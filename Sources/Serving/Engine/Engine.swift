import AttentionLanguageModels
import AttentionTensors
import Dispatch
import Synchronization

/// Generates many sequences at once.
///
/// One thread runs the model. In a round the sequences under way get their next tokens by one model call for each
/// thread, in which the weights are read once for all of its sequences (`LanguageModel.stepTogether`), then prompts are read, a
/// piece of one after a piece of the next, as long as ``ServingLimits/prefillSeconds`` allows. So a long prompt
/// does not hold up the answers of others, and short prompts overtake it.
///
/// Sequences wait in the order of their requests, one of each client in turn, for a place among
/// ``ServingLimits/runningSequences`` and until their caches fit ``ServingLimits/stateBytes``.
public final class Engine: Sendable {
  /// Why sequences are not accepted.
  public enum Refusal: Error, Hashable, Sendable {
    /// Too many wait already.
    case full
    /// The server ends, and finishes what it has begun.
    case draining
    /// A prompt with its answer would need more memory than there is: in bytes.
    case tooLarge(needed: Int, limit: Int)
  }

  public let model: TextModel
  public let limits: ServingLimits
  /// Numbers about all that has been served.
  public let monitor = Monitor()

  private let estimate: StateEstimate
  private let inbox = Mutex(Inbox())
  private let wake = DispatchSemaphore(value: 0)
  private let ended = DispatchSemaphore(value: 0)

  private struct Inbox {
    var waiting = FairQueue<RunningSequence>()
    /// Sequences that the thread has taken and not ended.
    var running = 0
    var isDraining = false
    var isStopped = false
  }

  /// Starts the thread.
  ///
  /// - Throws: ``ServingError``, or what a first step of the model throws.
  public init(model: TextModel, limits: ServingLimits = ServingLimits()) throws {
    try limits.validate()
    self.model = model
    self.limits = limits
    estimate = try StateEstimate(model.model)
    DispatchQueue(label: "attention.serving").async { [self] in
      run()
      ended.signal()
    }
  }

  /// Accepts all of `tasks` or none.
  ///
  /// - Parameters:
  ///   - tasks: valid ones; each with a prompt of tokens of the model and a number of tokens.
  ///   - client: whose they are: clients take turns.
  /// - Returns: the events of all; their index is that of the task.
  /// - Throws: ``Refusal``, or `GenerationError` for invalid options.
  public func submit(_ tasks: [GenerationTask], client: String) throws -> Submission {
    for task in tasks {
      let needed = estimate.bytes(task.prompt.count + (task.options.maximumTokens ?? 0))
      guard needed <= limits.stateBytes else {
        throw Refusal.tooLarge(needed: needed, limit: limits.stateBytes)
      }
    }
    let (stream, continuation) = AsyncStream.makeStream(of: IndexedEvent.self)
    let ticket = Ticket(count: tasks.count, events: continuation)
    let cancel: @Sendable () -> Void = { [wake] in
      ticket.cancel()
      wake.signal()
    }
    continuation.onTermination = { _ in cancel() }
    let now = ContinuousClock.now
    let sequences = try tasks.enumerated().map { index, task in
      try RunningSequence(
        task, index: index, model: model, ticket: ticket, arrival: now,
        deadline: now + .seconds(limits.requestSeconds))
    }
    try inbox.withLock { inbox throws(Refusal) in
      guard !inbox.isDraining else { throw .draining }
      guard inbox.waiting.count + sequences.count <= limits.waitingSequences else { throw .full }
      for sequence in sequences { inbox.waiting.append(sequence, of: client) }
    }
    wake.signal()
    return Submission(events: stream, cancel: cancel)
  }

  /// Sequences that the engine has accepted.
  public struct Submission: Sendable {
    /// Their events. If nobody reads them any more, the sequences end.
    public let events: AsyncStream<IndexedEvent>
    /// Ends the sequences, and the events with them.
    public let cancel: @Sendable () -> Void
  }

  /// Whether new sequences are refused because the server ends.
  public var isDraining: Bool { inbox.withLock(\.isDraining) }

  /// Refuses new sequences from now on; those that were accepted are finished.
  public func drain() { inbox.withLock { $0.isDraining = true } }

  /// Whether nothing waits or runs.
  public var isIdle: Bool { inbox.withLock { $0.running == 0 && $0.waiting.isEmpty } }

  /// Ends all sequences, with ``GenerationFailure/shutdown``, and the thread.
  public func stop() {
    inbox.withLock {
      $0.isDraining = true
      $0.isStopped = true
    }
    wake.signal()
    ended.wait()
    ended.signal()
  }

  // MARK: The thread

  private func run() {
    var running: [RunningSequence] = []
    var prefixes = PrefixCache(limit: limits.prefixBytes, pieceLength: limits.pieceLength)
    var nextPrompt = 0
    var memory = MemoryTrim()
    while true {
      let isStopped = take(into: &running)
      if isStopped {
        for index in running.indices { running[index].fail(.shutdown) }
        return
      }
      guard !running.isEmpty else {
        monitor.observe(running: 0, waiting: 0, stateBytes: 0, prefixes: prefixes)
        if wake.wait(timeout: .now() + MemoryTrim.idleSeconds) == .timedOut {
          memory.trim()
          wake.wait()
        }
        continue
      }
      step(&running)
      readPrompts(&running, &prefixes, &nextPrompt)
      reap(&running)
      monitor.observe(
        running: running.count, waiting: inbox.withLock(\.waiting.count),
        stateBytes: running.reduce(0) { $0 + $1.byteCount }, prefixes: prefixes)
      memory.trimIfDue()
    }
  }

  /// Moves waiting sequences to `running`, as many as there is room for, and ends those that nobody waits for.
  ///
  /// - Returns: whether the engine has been stopped.
  private func take(into running: inout [RunningSequence]) -> Bool {
    let now = ContinuousClock.now
    var reserved = running.reduce(0) { $0 + need(of: $1) }
    return inbox.withLock { inbox in
      inbox.waiting.removeAll { sequence in
        var sequence = sequence
        if inbox.isStopped {
          sequence.fail(.shutdown)
        } else if sequence.ticket.isCancelled {
          monitor.countCancelled()
          sequence.end()
        } else if sequence.deadline < now {
          sequence.fail(.timeout)
        }
        return sequence.isDone
      }
      while running.count < limits.runningSequences, let next = inbox.waiting.first,
        reserved + need(of: next) <= limits.stateBytes || running.isEmpty
      {
        inbox.waiting.removeFirst()
        reserved += need(of: next)
        running.append(next)
        monitor.countStart(waited: now - next.arrival)
      }
      inbox.running = running.count
      return inbox.isStopped
    }
  }

  /// The memory that a sequence may come to need.
  private func need(of sequence: RunningSequence) -> Int {
    estimate.bytes(sequence.task.prompt.count + (sequence.task.options.maximumTokens ?? 0))
  }

  /// The next token of each sequence whose prompt has been read.
  private func step(_ running: inout [RunningSequence]) {
    let ready = running.indices.filter { !running[$0].isReadingPrompt && !running[$0].isDone }
    guard !ready.isEmpty else { return }
    let before = running.map(\.lastToken)
    // On a device rows may depend on each other's number, so there each sequence is a group.
    let count = model.model.device == .cpu ? min(ready.count, Threads.count) : ready.count
    var groups = (0..<count).map { group in
      stride(from: group, to: ready.count, by: count).map { running[ready[$0]] }
    }
    groups.withUnsafeMutableBufferPointer { groups in
      // Groups are independent, and a model call inside of this loop runs on one thread.
      nonisolated(unsafe) let groups = groups
      Threads.forEach(count) { RunningSequence.stepTogether(&groups[$0], model: model) }
    }
    for (place, index) in ready.enumerated() {
      running[index] = groups[place % count][place / count]
    }
    for index in ready {
      if let last = before[index], let now = running[index].lastToken, now > last {
        monitor.countToken(after: now - last)
      }
    }
  }

  /// Reads pieces of prompts, of one sequence after the other, until the time for it is over.
  private func readPrompts(
    _ running: inout [RunningSequence], _ prefixes: inout PrefixCache, _ next: inout Int
  ) {
    let end = ContinuousClock.now + .seconds(limits.prefillSeconds)
    repeat {
      let order = running.indices.map { (next + $0) % running.count }
      guard
        let index = order.first(where: {
          running[$0].isReadingPrompt && !running[$0].isDone && !running[$0].ticket.isCancelled
        })
      else { return }
      next = index + 1
      let (read, reused) = (running[index].read, running[index].reused)
      running[index].readPiece(
        model: model, prefixes: &prefixes, length: limits.pieceLength)
      let sequence = running[index]
      monitor.countPrompt(
        tokens: sequence.read - read, ofThemReused: sequence.reused - reused)
      if let first = sequence.lastToken {
        monitor.countFirstToken(after: first - sequence.arrival)
      }
    } while ContinuousClock.now < end
  }

  /// Removes sequences that have ended, and ends those that are late or that nobody waits for.
  private func reap(_ running: inout [RunningSequence]) {
    let now = ContinuousClock.now
    for index in running.indices where !running[index].isDone {
      if running[index].ticket.isCancelled {
        monitor.countCancelled()
        running[index].end()
      } else if running[index].deadline < now {
        running[index].fail(.timeout)
      }
    }
    running.removeAll(where: \.isDone)
    inbox.withLock { [count = running.count] in $0.running = count }
  }
}
