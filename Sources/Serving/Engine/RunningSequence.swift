import AttentionCLibrary
import AttentionLanguageModels
import AttentionTensors
import Synchronization

/// What the sequences of a request share: where their events go, and whether anybody still waits for them.
final class Ticket: Sendable {
  private let cancelled = Atomic<Bool>(false)
  private let open: Atomic<Int>
  private let events: AsyncStream<IndexedEvent>.Continuation

  /// - Parameters:
  ///   - count: the number of sequences.
  ///   - events: ends when all of them have ended, and cancels them when nobody reads it.
  init(count: Int, events: AsyncStream<IndexedEvent>.Continuation) {
    open = Atomic(count)
    self.events = events
  }

  var isCancelled: Bool { cancelled.load(ordering: .relaxed) }

  func cancel() { cancelled.store(true, ordering: .relaxed) }

  func send(_ event: GenerationEvent, of index: Int) {
    events.yield(IndexedEvent(index: index, event: event))
  }

  /// One of the sequences has ended.
  func close() {
    if open.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 { events.finish() }
  }
}

/// A sequence under way.
///
/// It reads its prompt in the pieces, and chooses its tokens from the logits, of `TokenGenerator`. Other sequences may
/// take part in its model calls, whose rows do not depend on each other. So its tokens are those of `attention
/// generate`, whatever else is served.
struct RunningSequence: Sendable {
  let task: GenerationTask
  let index: Int
  let ticket: Ticket
  /// When it must have ended, and when it arrived.
  let deadline: ContinuousClock.Instant
  let arrival: ContinuousClock.Instant
  private var cache: LanguageModel.Cache?
  private var sampler: Sampler
  private var constraint: TokenConstraint?
  private var decoder: any TokenDecoder
  private var matcher: StopMatcher
  /// The token that the model has not read yet; nil while the prompt is being read.
  private var last: Int32?
  /// Tokens whose text is held back, with their probabilities.
  private var unsent: [ScoredToken] = []
  /// How many tokens of the prompt have been read, and how many of these came from the prefix cache.
  private(set) var read = 0
  private(set) var reused = 0
  /// How many tokens have been generated.
  private(set) var count = 0
  private(set) var isDone = false
  /// When the last token was chosen.
  private(set) var lastToken: ContinuousClock.Instant?

  /// - Throws: `GenerationError`.
  init(
    _ task: GenerationTask, index: Int, model: TextModel, ticket: Ticket,
    arrival: ContinuousClock.Instant, deadline: ContinuousClock.Instant
  ) throws {
    self.task = task
    self.index = index
    self.ticket = ticket
    self.arrival = arrival
    self.deadline = deadline
    sampler = try Sampler(task.options)
    decoder = model.decoder()
    matcher = StopMatcher(task.stops)
    constraint = task.isJSON ? TokenConstraint() : nil
  }

  /// Whether some of the prompt has not been read.
  var isReadingPrompt: Bool { last == nil }

  /// The memory of its caches, in bytes.
  var byteCount: Int { cache?.byteCount ?? 0 }

  private func send(_ event: GenerationEvent) { ticket.send(event, of: index) }

  /// Reads the next piece of the prompt, or continues from a state that another request left; after the last
  /// piece, chooses the first token.
  mutating func readPiece(model: TextModel, prefixes: inout PrefixCache, length: Int) {
    do {
      let snapshot: PrefixCache.Snapshot
      if let kept = prefixes.longest(of: task.prompt, after: read) {
        snapshot = kept
        reused += kept.tokens.count - read
      } else {
        var next = cache ?? model.model.makeCache()
        let piece = task.prompt[read...].prefix(length)
        let logits = try model.model.step(
          Tensor(Array(piece), [1, piece.count]), cache: &next, onlyLast: true)
        snapshot = try PrefixCache.Snapshot(
          tokens: Array(task.prompt[..<piece.endIndex]), cache: next,
          logits: logits.elements(as: Float.self))
        prefixes.insert(snapshot)
      }
      cache = snapshot.cache
      read = snapshot.tokens.count
      guard read == task.prompt.count else { return }
      send(.begun(reusedTokens: reused))
      try choose(from: snapshot.logits, model: model)
    } catch {
      fail(.model("\(error)"))
    }
  }

  /// Reads the last token of each of some sequences, whose prompts have been read, in one model call, and chooses
  /// the next of each.
  static func stepTogether(_ sequences: inout [RunningSequence], model: TextModel) {
    var caches = sequences.compactMap(\.cache)
    let tokens = sequences.compactMap(\.last)
    guard sequences.count > 1, caches.count == sequences.count, tokens.count == sequences.count,
      let logits = try? model.model.stepTogether(tokens, caches: &caches),
      let rows = try? logits.elements(as: Float.self)
    else {
      // The error of one is not that of others.
      for index in sequences.indices { sequences[index].step(model: model) }
      return
    }
    let width = model.model.vocabularySize
    for index in sequences.indices {
      sequences[index].cache = caches[index]
      sequences[index].tryChoose(
        from: Array(rows[index * width..<(index + 1) * width]), model: model)
    }
  }

  /// Reads the last token and chooses the next.
  private mutating func step(model: TextModel) {
    do {
      guard var next = cache, let last else { return }
      let logits = try model.model.step(Tensor([last], [1, 1]), cache: &next, onlyLast: true)
      cache = next
      try choose(from: logits.elements(as: Float.self), model: model)
    } catch {
      fail(.model("\(error)"))
    }
  }

  private mutating func tryChoose(from logits: [Float], model: TextModel) {
    do { try choose(from: logits, model: model) } catch { fail(.model("\(error)")) }
  }

  /// Ends the sequence because of `failure`.
  mutating func fail(_ failure: GenerationFailure) {
    send(.failed(failure))
    end()
  }

  /// Ends the sequence without a word: nobody listens.
  mutating func end() {
    isDone = true
    cache = nil
    ticket.close()
  }

  private mutating func choose(from logits: [Float], model: TextModel) throws {
    let token: Int32
    if var constraint {
      token = try constraint.next(
        logits, sampler: &sampler, decoder: decoder, endTokens: task.options.endTokens)
      self.constraint = constraint
    } else {
      token = try sampler.next(logits)
    }
    lastToken = .now
    guard !task.options.endTokens.contains(token) else { return finish(.stop) }
    count += 1
    last = token
    if let likeliest = task.likeliest {
      unsent.append(
        ScoredToken(token, logits: logits, likeliest: likeliest) { model.text(of: $0) })
    }
    let (text, isStopped) = matcher.append(decoder.append(token))
    if !text.isEmpty { sendText(text) }
    if isStopped {
      send(.finished(.stop, tokenCount: count))
      end()
    } else if constraint?.isComplete == true {
      finish(.stop)
    } else if count == task.options.maximumTokens {
      finish(.length)
    }
  }

  private mutating func sendText(_ text: String) {
    send(.text(text, unsent))
    unsent = []
  }

  /// Sends what has been held back, and the end.
  private mutating func finish(_ reason: FinishReason) {
    let (text, isStopped) = matcher.append(decoder.finish())
    let rest = text + (isStopped ? "" : matcher.finish())
    if !rest.isEmpty || !unsent.isEmpty { sendText(rest) }
    send(.finished(isStopped ? .stop : reason, tokenCount: count))
    end()
  }
}

extension TextModel {
  /// The text of a token that stands alone.
  func text(of token: Int32) -> String {
    var decoder = decoder()
    let text = decoder.append(token)
    return text + decoder.finish()
  }
}

extension ScoredToken {
  /// - Parameters:
  ///   - token: the token that was chosen.
  ///   - logits: of all tokens.
  ///   - count: how many of the most likely are wanted.
  ///   - text: the text of a token.
  init(_ token: Int32, logits: [Float], likeliest count: Int, text: (Int32) -> String) {
    let highest = Double(logits.max() ?? 0)
    let logSum = highest + log(logits.reduce(0) { $0 + exp(Double($1) - highest) })
    var best: [Int] = []
    if count > 0 {
      for index in logits.indices {
        if best.count == count, logits[index] <= logits[best[count - 1]] { continue }
        let place = best.firstIndex { logits[$0] < logits[index] } ?? best.count
        best.insert(index, at: place)
        if best.count > count { best.removeLast() }
      }
    }
    self.init(
      token: token, text: text(token),
      logProbability: Double(logits[Int(token)]) - logSum,
      likeliest: best.map {
        Alternative(text: text(Int32($0)), logProbability: Double(logits[$0]) - logSum)
      })
  }
}
