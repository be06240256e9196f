import AttentionCLibrary
import AttentionCUDA
import Synchronization

/// Host memory for tensors: freed blocks are kept for reuse, so that a training step touches the same pages
/// each time instead of faulting in new ones.
///
/// Blocks of several megabytes use huge pages if the system provides them: rows of a tensor are often a
/// 4 KiB page apart, and the TLB misses would cost more than the reads.
///
/// Blocks are aligned to 64 bytes and rounded up to one of four sizes per power of two, which adds less than
/// a quarter to requests of more than 256 bytes. At most ``retainedLimit`` bytes of free blocks are kept.
public enum MemoryPool {
  /// The most bytes of free blocks that are kept; further ones return to the system.
  public static let retainedLimit = 4 << 30

  private struct State {
    /// Addresses, indexed by size class.
    var free = [[UInt]](repeating: [], count: BlockSize.count)
    var freeBytes = 0
    var heldBytes = 0
    var peakBytes = 0
    var poisons = false
  }

  private static let state = Mutex(State())

  /// Bytes held by living tensors.
  public static var heldBytes: Int { state.withLock { $0.heldBytes } }

  /// Bytes of free blocks that are kept for reuse.
  public static var freeBytes: Int { state.withLock { $0.freeBytes } }

  /// The most bytes that living tensors held since ``resetPeak()``.
  public static var peakBytes: Int { state.withLock { $0.peakBytes } }

  /// Restarts the measurement of ``peakBytes`` and returns the bytes held now.
  @discardableResult
  public static func resetPeak() -> Int {
    state.withLock {
      $0.peakBytes = $0.heldBytes
      return $0.heldBytes
    }
  }

  /// Whether every allocated block is first filled with NaN, so that an element which a kernel fails to
  /// write shows in its result. For tests.
  public static var poisonsFreshMemory: Bool {
    get { state.withLock { $0.poisons } }
    set { state.withLock { $0.poisons = newValue } }
  }

  static func allocate(_ bytes: Int) throws -> UnsafeMutableRawPointer {
    let most = MachineMemory.bytes
    let block = BlockSize(atLeast: min(bytes, most))
    let size = block.bytes
    let (recycled, poisons): (UInt?, Bool) = try state.withLock { state in
      // A system that overcommits memory kills the process when it runs out.
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
      // Free blocks of other sizes may hold the missing memory.
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

  /// The size of a huge page in bytes.
  private static let hugePage = 2 << 20

  /// A new block from the system; nil if it has none.
  private static func fresh(_ size: Int) -> UnsafeMutableRawPointer? {
    let isHuge = size >= 2 * hugePage
    var pointer: UnsafeMutableRawPointer?
    guard posix_memalign(&pointer, isHuge ? hugePage : BlockSize.alignment, size) == 0 else {
      return nil
    }
    #if os(Linux)
      // A hint, which the system may ignore.
      if isHuge { madvise(pointer, size, MADV_HUGEPAGE) }
    #endif
    return pointer
  }

  /// Returns all free blocks to the system, with what the C library keeps of memory that the program has freed.
  public static func trim() {
    let blocks = state.withLock { state in
      defer {
        state.free = [[UInt]](repeating: [], count: BlockSize.count)
        state.freeBytes = 0
      }
      return state.free.flatMap { $0 }
    }
    for block in blocks { free(UnsafeMutableRawPointer(bitPattern: block)) }
    _ = returnUnused?(0)
  }

  /// glibc's `malloc_trim`, which Swift's Glibc does not declare; nil with other libraries.
  private static let returnUnused: (@convention(c) (Int) -> Int32)? = dlsym(nil, "malloc_trim")
    .map { unsafeBitCast($0, to: (@convention(c) (Int) -> Int32).self) }

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
