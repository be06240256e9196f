import AttentionCLibrary
import Synchronization

/// Small pieces of a device's memory that were given back in the order of a stream, and are handed out
/// again in it: to ask the driver takes longer than many a short kernel.
///
/// Work runs in the order in which it is queued. What is queued for a piece's next holder begins when all
/// that its last one queued is done, so nobody has to wait.
final class FreeBlocks: Sendable {
  /// The environment variable that says, by 0, that nothing is kept: tools that watch over memory see
  /// every piece come and go then.
  static let variable = "ATTENTION_GPU_REUSE"

  /// Larger ones go back to the driver, whose work is nothing beside that on so much memory.
  static let largest = 8 << 20
  /// No more than this is kept.
  static let mostBytes = 256 << 20

  private struct State {
    /// Addresses, by the number of their size.
    var free = [[UInt64]](repeating: [], count: BlockSize.count)
    var bytes = 0
  }

  private let state = Mutex(State())
  private let isKeeping: Bool

  init(isKeeping: Bool = isKeepingByEnvironment) { self.isKeeping = isKeeping }

  static var isKeepingByEnvironment: Bool {
    getenv(variable).map { String(cString: $0) != "0" } ?? true
  }

  /// The size of a piece for `byteCount` bytes: rounded up where it may come back here.
  func size(for byteCount: Int) -> BlockSize? {
    isKeeping && byteCount <= Self.largest ? BlockSize(atLeast: byteCount) : nil
  }

  /// A piece of a size; nil if there is none.
  func take(_ size: BlockSize) -> UInt64? {
    state.withLock { state in
      let address = state.free[size.number].popLast()
      if address != nil { state.bytes -= size.bytes }
      return address
    }
  }

  /// Keeps a piece; false if there is no room for it.
  func keep(_ address: UInt64, _ size: BlockSize) -> Bool {
    state.withLock { state in
      guard state.bytes + size.bytes <= Self.mostBytes else { return false }
      state.bytes += size.bytes
      state.free[size.number].append(address)
      return true
    }
  }

  /// All pieces, which are kept no longer.
  func removeAll() -> [UInt64] {
    state.withLock { state in
      defer { state = State() }
      return state.free.flatMap { $0 }
    }
  }
}
