import AttentionCUDA
import AttentionTensors

/// Measures calls on a device: on the CPU by its clock, on a GPU by events in the stream.
struct TurnTimer {
  private let queue: DeviceQueue?
  /// Memory larger than the GPU's cache: setting it evicts everything else.
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

  /// Whether calls are measured one by one with a cold GPU cache.
  var measuresSingleCalls: Bool { queue != nil }

  /// The seconds per call of `repetitions` consecutive calls. On a GPU this may include waiting for the host to
  /// enqueue them.
  func seconds(_ repetitions: Int, _ body: () throws -> Void) throws -> Double {
    func all() throws {
      for _ in 0..<repetitions { try body() }
    }
    let total = try queue == nil ? Stopwatch.seconds(all) : deviceSeconds(all)
    return total / Double(repetitions)
  }

  /// The seconds of a call on a GPU with a cold cache. Clearing the cache takes long enough for the host to
  /// enqueue a call of a few kernels meanwhile.
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

  /// Restarts the measurement of the peak, and returns the bytes held now.
  func resetPeak() -> Int { queue?.device.ledger.resetPeak() ?? MemoryPool.resetPeak() }

  /// The most bytes held at once since ``resetPeak()``.
  var peakBytes: Int { queue?.device.ledger.peakBytes ?? MemoryPool.peakBytes }
}

/// One way to compute the task of a race.
struct Contender {
  let kernel: String
  /// Computes everything once and returns all results.
  let run: () throws -> [Tensor]
}

/// The task of a race: its size, for the table.
struct RaceTask {
  /// Such as `softmax forward`.
  var operation: String
  var pass: Pass
  var dtype: DType
  var batch = 1
  var length: Int
  var heads: Int
  var dimension: Int
  /// Floating-point operations of the mathematical definition, whatever a kernel does; or what ``unit`` counts.
  var operations: Double
  var unit = RateUnit.operations

  /// What a rate counts; each has its own ceiling.
  enum RateUnit: String, Encodable {
    /// Compared with multiply-adds in registers.
    case operations = "GFLOP/s"
    /// Compared with a copy.
    case bytes = "GB/s"
    /// Compared with a loop of exponentials.
    case exponentials = "Gexp/s"
  }

  enum Pass: String, Encodable, CaseIterable {
    case forward
    /// Forward, and the gradients of queries, keys and values.
    case training
  }
}
