import AttentionCLibrary
import AttentionCPUKernels
import Synchronization

/// The number of threads that operations use, and their parallel loop.
///
/// Results do not depend on the number of threads: the problem determines how work is split, threads only
/// who does which piece.
public enum Threads {
  private static let limit = Atomic<Int>(0)

  /// The number of processors that this process may run on.
  public static let available = max(1, Int(cpu_available_processors()))

  /// The number of processors of the machine, whatever this process's affinity. Cost estimates use it, so
  /// that no result depends on ``count``.
  public static let processors = max(1, Int(cpu_machine_processors()))

  /// The number of threads that loops use: the value set here, else the environment variable
  /// `ATTENTION_THREADS`, else ``available``.
  public static var count: Int {
    get {
      let set = limit.load(ordering: .relaxed)
      return set > 0 ? set : initial
    }
    set { limit.store(max(1, newValue), ordering: .relaxed) }
  }

  private static let initial: Int = {
    if let text = getenv("ATTENTION_THREADS"), let count = Int(String(cString: text)), count > 0 {
      return count
    }
    return available
  }()

  /// Must be called in a newly forked process before it runs a loop: the parent's threads do not exist in
  /// it, and new ones are started.
  package static func forgetParent() { ThreadTeam.shared.forgetMembers() }

  /// Calls `body` once for each index below `count`, spread over the threads; the next free thread takes
  /// the next index. Returns when all are done. While a loop runs, others, such as nested ones, run on the
  /// calling thread.
  public static func forEach(_ count: Int, _ body: (Int) -> Void) {
    let workers = min(count, Threads.count)
    guard workers > 1 else {
      for index in 0..<max(0, count) { body(index) }
      return
    }
    if ThreadTeam.shared.run(count, helpers: workers - 1, body) { return }
    for index in 0..<count { body(index) }
  }

  /// Elements in a piece of work: enough to hide the cost of starting it.
  package static let pieceLength = 16_384

  /// Calls `body` with blocks of `rows` rows of `width` elements, spread over the threads. The blocks depend
  /// on these two numbers only.
  public static func forEachRows(_ rows: Int, width: Int, _ body: (Range<Int>) -> Void) {
    let block = max(1, pieceLength / max(1, width))
    forEach(rows.pieces(of: block)) { index in
      body(index * block..<min(rows, (index + 1) * block))
    }
  }

  /// ``forEach(_:_:)`` for a body that throws: the error of the lowest failing index is rethrown.
  public static func tryForEach(_ count: Int, _ body: (Int) throws -> Void) throws {
    if count == 1 { return try body(0) }
    let failure = Mutex<(index: Int, error: any Error)?>(nil)
    forEach(count) { index in
      do { try body(index) } catch {
        failure.withLock { if $0 == nil || $0!.index > index { $0 = (index, error) } }
      }
    }
    if let failure = failure.withLock({ $0 }) { throw failure.error }
  }
}
