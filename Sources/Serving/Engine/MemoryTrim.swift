import AttentionTensors

/// Returns unused memory to the system from time to time.
///
/// Caches of every length pass through a server, and free blocks are kept by their size: without this, the process
/// comes to hold the most that it ever needed of each size, though never of all at once.
struct MemoryTrim {
  /// How long the engine must have had nothing to do, in seconds.
  static let idleSeconds = 1.0
  /// Between two trims under load. Getting the memory back then costs page faults of a few milliseconds.
  private static let interval = Duration.seconds(5)

  private var last = ContinuousClock.now

  mutating func trimIfDue() {
    if ContinuousClock.now - last > Self.interval { trim() }
  }

  mutating func trim() {
    MemoryPool.trim()
    last = .now
  }
}
