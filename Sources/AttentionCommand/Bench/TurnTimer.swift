import AttentionCUDA
import AttentionTensors

/// Measures calls on a device: on the processor by its clock, on a GPU by events in the queue of its
/// work.
struct TurnTimer {
  private let queue: DeviceQueue?
  /// More than the GPU's cache holds: setting it leaves nothing else there.
  private let scrubber: DeviceMemory?
  private let events: (start: Event, end: Event)?

  init(_ device: Device) throws {
    guard device != .cpu else {
      (queue, scrubber, events) = (nil, nil, nil)
      return
    }
    let queue = try DeviceQueue.shared(for: device)
    self.queue = queue
    scrubber = try DeviceMemory(
      2 * queue.device.limits.l2Bytes, for: "what empties the cache", in: queue.stream)
    events = (try Event(queue.device), try Event(queue.device))
  }

  /// Whether calls are measured one by one, the GPU's cache emptied before each.
  var measuresSingleCalls: Bool { queue != nil }

  /// The seconds of a call out of `repetitions` one behind the other. On a GPU they may wait for the
  /// processor that queues them.
  func seconds(_ repetitions: Int, _ body: () throws -> Void) throws -> Double {
    func all() throws {
      for _ in 0..<repetitions { try body() }
    }
    let total = try queue == nil ? Stopwatch.seconds(all) : deviceSeconds(all)
    return total / Double(repetitions)
  }

  /// The seconds of a call on a GPU that finds nothing in its cache. Emptying the cache takes long
  /// enough for a call of a few kernels to be queued meanwhile.
  func coldSeconds(_ body: () throws -> Void) throws -> Double {
    guard let queue, let scrubber else { return try Stopwatch.seconds(body) }
    try queue.stream.fill(scrubber, with: 0)
    return try deviceSeconds(body)
  }

  private func deviceSeconds(_ body: () throws -> Void) throws -> Double {
    guard let queue, let events else { return 0 }
    try events.start.record(in: queue.stream)
    try body()
    try events.end.record(in: queue.stream)
    try events.end.synchronize()
    return try events.end.seconds(since: events.start)
  }

  /// Counts the most memory held from now on, and returns what is held now.
  func resetPeak() -> Int { queue?.device.ledger.resetPeak() ?? MemoryPool.resetPeak() }

  /// The most bytes held at a time since ``resetPeak()``.
  var peakBytes: Int { queue?.device.ledger.peakBytes ?? MemoryPool.peakBytes }
}
