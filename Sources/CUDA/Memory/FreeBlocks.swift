import AttentionCLibrary
import Synchronization

/// Small blocks of device memory freed in a stream and reused in the same stream: an allocation by the
/// driver takes longer than many a short kernel.
///
/// A stream runs its work in order. Work enqueued for a block's next holder starts after all work of its
/// previous holder, so reuse needs no synchronisation.
final class FreeBlocks: Sendable {
  /// The environment variable that turns reuse off when it is 0, so that memory checkers see every
  /// allocation and free.
  static let variable = "ATTENTION_GPU_REUSE"

  /// Larger blocks return to the driver: the work on so much memory takes far longer than an allocation.
  static let largest = 8 << 20
  /// The most memory kept, in bytes.
  static let mostBytes = 256 << 20

  private struct State {
    /// Addresses, indexed by size class.
    var free = [[UInt64]](repeating: [], count: BlockSize.count)
    var bytes = 0
  }

  private let state = Mutex(State())
  private let isKeeping: Bool

  init(isKeeping: Bool = isKeepingByEnvironment) { self.isKeeping = isKeeping }

  static var isKeepingByEnvironment: Bool {
    getenv(variable).map { String(cString: $0) != "0" } ?? true
  }

  /// The size class of a block for `byteCount` bytes; nil if it is not to be kept.
  func size(for byteCount: Int) -> BlockSize? {
    isKeeping && byteCount <= Self.largest ? BlockSize(atLeast: byteCount) : nil
  }

  /// Takes a kept block of a size class; nil if there is none.
  func take(_ size: BlockSize) -> UInt64? {
    state.withLock { state in
      let address = state.free[size.number].popLast()
      if address != nil { state.bytes -= size.bytes }
      return address
    }
  }

  /// Keeps a block; false if that would exceed ``mostBytes``.
  func keep(_ address: UInt64, _ size: BlockSize) -> Bool {
    state.withLock { state in
      guard state.bytes + size.bytes <= Self.mostBytes else { return false }
      state.bytes += size.bytes
      state.free[size.number].append(address)
      return true
    }
  }

  /// Removes and returns all kept blocks.
  func removeAll() -> [UInt64] {
    state.withLock { state in
      defer { state = State() }
      return state.free.flatMap { $0 }
    }
  }
}
