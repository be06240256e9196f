import AttentionCUDA
import Synchronization

/// The page-locked memory through which all copies between host and GPU go, so that they overlap with work
/// and little memory is locked.
///
/// It is a ring of slots. Data to be sent stays in a slot until the device has copied it; a slot is reused
/// when the event after its last copy has completed.
final class PinnedStaging: Sendable {
  private static let slotBytes = 4 << 20
  private static let slotCount = 4
  /// Alignment of small operands, in bytes.
  private static let alignment = 16

  private struct Slot {
    let memory: PinnedMemory
    /// Recorded after the last copy.
    let event: Event
    var isAwaited = false
  }

  private struct Ring {
    var slots: [Slot] = []
    var current = 0
    /// Bytes used in the current slot.
    var used = 0
    /// Sources of captured copies, which replayed graphs read.
    var captured: [CapturedBytes] = []
  }

  /// An unchanging copy of host bytes.
  private final class CapturedBytes: @unchecked Sendable {
    let bytes: UnsafeMutableRawBufferPointer

    init(_ source: UnsafeRawBufferPointer, alignment: Int) {
      bytes = .allocate(byteCount: source.count, alignment: alignment)
      bytes.copyMemory(from: source)
    }

    deinit { bytes.deallocate() }
  }

  private let stream: Stream
  private let ring = Mutex(Ring())

  init(_ stream: Stream) { self.stream = stream }

  /// Copies host bytes to `target`. While the stream is being captured, the copy becomes part of the graph
  /// and its source is kept as long as this object lives.
  func send(_ source: UnsafeRawBufferPointer, to target: DeviceMemory) throws {
    guard !source.isEmpty else { return }
    try ring.withLock { ring in
      guard !stream.isCapturing else {
        let kept = CapturedBytes(source, alignment: Self.alignment)
        ring.captured.append(kept)
        return try stream.copy(UnsafeRawBufferPointer(kept.bytes), to: target)
      }
      var sent = 0
      while sent < source.count {
        let piece = try room(&ring, upTo: source.count - sent)
        piece.copyMemory(from: UnsafeRawBufferPointer(rebasing: source[sent..<sent + piece.count]))
        try stream.copy(UnsafeRawBufferPointer(piece), to: target, at: sent)
        sent += piece.count
      }
    }
  }

  /// Copies bytes of `source` to the host; the copy into one slot overlaps with emptying the one before.
  func receive(
    _ source: DeviceMemory, at offset: Int, into target: UnsafeMutableRawBufferPointer
  ) throws {
    try ring.withLock { ring in
      var pending: (slot: Int, place: Int, count: Int)?
      func finish() throws {
        guard let done = pending else { return }
        try ring.slots[done.slot].event.synchronize()
        ring.slots[done.slot].isAwaited = false
        UnsafeMutableRawBufferPointer(rebasing: target[done.place..<done.place + done.count])
          .copyMemory(
            from: UnsafeRawBufferPointer(
              rebasing: ring.slots[done.slot].memory.bytes[..<done.count]))
      }
      for place in stride(from: 0, to: target.count, by: Self.slotBytes) {
        try advance(&ring)
        let count = min(Self.slotBytes, target.count - place)
        let slot = ring.slots[ring.current]
        try stream.copy(
          source, at: offset + place,
          to: UnsafeMutableRawBufferPointer(rebasing: slot.memory.bytes[..<count]))
        ring.used = Self.slotBytes
        try close(&ring)
        try finish()
        pending = (ring.current, place, count)
      }
      try finish()
    }
  }

  /// Free bytes of the current slot, or of the next one.
  private func room(_ ring: inout Ring, upTo count: Int) throws -> UnsafeMutableRawBufferPointer {
    if ring.slots.isEmpty || ring.used >= Self.slotBytes { try advance(&ring) }
    let first = ring.used
    let taken = min(count, Self.slotBytes - first)
    ring.used = (first + taken + Self.alignment - 1) / Self.alignment * Self.alignment
    return UnsafeMutableRawBufferPointer(
      rebasing: ring.slots[ring.current].memory.bytes[first..<first + taken])
  }

  /// Moves to the next slot once it is free.
  private func advance(_ ring: inout Ring) throws {
    try close(&ring)
    if ring.slots.count < Self.slotCount {
      ring.slots.append(
        Slot(
          memory: try PinnedMemory(Self.slotBytes, on: stream.device),
          event: try Event(stream.device)))
      ring.current = ring.slots.count - 1
    } else {
      ring.current = (ring.current + 1) % Self.slotCount
      if ring.slots[ring.current].isAwaited {
        try ring.slots[ring.current].event.synchronize()
        ring.slots[ring.current].isAwaited = false
      }
    }
    ring.used = 0
  }

  /// Records the event after the copies of the current slot.
  private func close(_ ring: inout Ring) throws {
    guard ring.used > 0, !ring.slots.isEmpty, !ring.slots[ring.current].isAwaited else { return }
    try ring.slots[ring.current].event.record(in: stream)
    ring.slots[ring.current].isAwaited = true
  }
}
