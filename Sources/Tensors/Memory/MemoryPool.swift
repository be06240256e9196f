import AttentionCLibrary
import AttentionCUDA
import Synchronization

/// Host memory for tensors: freed blocks are kept and handed out again, so that a training step
/// touches the same pages each time instead of faulting in new ones.
///
/// Blocks of several megabytes lie in huge pages where the system gives them: rows of a tensor often
/// lie a page of four kilobytes apart, and finding as many of those takes longer than reading them.
///
/// Blocks are aligned to 64 bytes and rounded up to one of four sizes per power of two, so at most
/// a quarter of a block is unused. At most ``retainedLimit`` bytes of free blocks are kept.
public enum MemoryPool {
  /// Free blocks beyond this many bytes go back to the system.
  public static let retainedLimit = 4 << 30

  private struct State {
    /// By the number of their size.
    var free = [[UInt]](repeating: [], count: BlockSize.count)
    var freeBytes = 0
    var heldBytes = 0
    var peakBytes = 0
    var poisons = false
  }

  private static let state = Mutex(State())

  /// Bytes held by living tensors.
  public static var heldBytes: Int { state.withLock { $0.heldBytes } }

  /// The most bytes that living tensors held since ``resetPeak()``.
  public static var peakBytes: Int { state.withLock { $0.peakBytes } }

  /// Starts a new measurement of ``peakBytes`` and returns what is held now.
  @discardableResult
  public static func resetPeak() -> Int {
    state.withLock {
      $0.peakBytes = $0.heldBytes
      return $0.heldBytes
    }
  }

  /// Whether every block handed out is first filled with NaN, so that an element which a kernel
  /// forgets to write shows in its result. For tests.
  public static var poisonsFreshMemory: Bool {
    get { state.withLock { $0.poisons } }
    set { state.withLock { $0.poisons = newValue } }
  }

  static func allocate(_ bytes: Int) throws -> UnsafeMutableRawPointer {
    let most = MachineMemory.bytes
    let block = BlockSize(atLeast: min(bytes, most))
    let size = block.bytes
    let (recycled, poisons): (UInt?, Bool) = try state.withLock { state in
      // What a system promises beyond what it has, it takes back by ending the process.
      guard bytes <= most, state.heldBytes <= most - bytes else {
        throw TensorError.outOfMemory(requestedBytes: bytes, heldBytes: state.heldBytes)
      }
      let free = state.free[block.number].popLast()
      if free != nil { state.freeBytes -= size }
      state.heldBytes += size
      state.peakBytes = max(state.peakBytes, state.heldBytes)
      return (free, state.poisons)
    }
    var pointer = recycled.flatMap { UnsafeMutableRawPointer(bitPattern: $0) }
    if pointer == nil { pointer = fresh(size) }
    if pointer == nil {
      // Free blocks of other sizes may be what is missing.
      trim()
      pointer = fresh(size)
    }
    guard let pointer else {
      let held = state.withLock { state in
        state.heldBytes -= size
        return state.heldBytes
      }
      throw TensorError.outOfMemory(requestedBytes: bytes, heldBytes: held)
    }
    if poisons { memset(pointer, 0xFF, size) }
    return pointer
  }

  /// Bytes of a huge page.
  private static let hugePage = 2 << 20

  /// A block of the system's; nil where there is none.
  private static func fresh(_ size: Int) -> UnsafeMutableRawPointer? {
    let isHuge = size >= 2 * hugePage
    var pointer: UnsafeMutableRawPointer?
    guard posix_memalign(&pointer, isHuge ? hugePage : BlockSize.alignment, size) == 0 else {
      return nil
    }
    #if os(Linux)
      // A wish: what it leads to is up to the system.
      if isHuge { madvise(pointer, size, MADV_HUGEPAGE) }
    #endif
    return pointer
  }

  /// Gives all free blocks back to the system.
  public static func trim() {
    let blocks = state.withLock { state in
      defer {
        state.free = [[UInt]](repeating: [], count: BlockSize.count)
        state.freeBytes = 0
      }
      return state.free.flatMap { $0 }
    }
    for block in blocks { free(UnsafeMutableRawPointer(bitPattern: block)) }
  }

  static func release(_ pointer: UnsafeMutableRawPointer, _ bytes: Int) {
    let block = BlockSize(atLeast: bytes)
    let size = block.bytes
    let keeps = state.withLock { state in
      state.heldBytes -= size
      guard state.freeBytes + size <= retainedLimit else { return false }
      state.freeBytes += size
      state.free[block.number].append(UInt(bitPattern: pointer))
      return true
    }
    if !keeps { free(pointer) }
  }
}
