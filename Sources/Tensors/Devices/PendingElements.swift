import AttentionCUDA
import Synchronization

/// The elements of a small tensor on their way to the host. Reading them waits for the copy, but not for
/// work enqueued after it.
public struct PendingElements: Sendable {
  private enum Source: Sendable {
    case here(Tensor)
    case coming(Reading, Shape, DType)
  }

  private let source: Source

  fileprivate init(_ tensor: Tensor) throws {
    guard case .device(_, let queue) = tensor.storage else {
      source = .here(tensor)
      return
    }
    let stored = try tensor.contiguous()
    guard case .device(let memory, _) = stored.storage else {
      source = .here(stored)
      return
    }
    let reading = try Reading(stored.byteCount, in: queue.stream)
    try queue.stream.copy(
      memory, at: stored.offset * stored.dtype.size,
      to: UnsafeMutableRawBufferPointer(rebasing: reading.place.memory.bytes[..<stored.byteCount]))
    try reading.place.event.record(in: queue.stream)
    source = .coming(reading, stored.shape, stored.dtype)
  }

  /// Waits for the copy and returns the elements in row-major order.
  ///
  /// - Throws: the error of GPU work that failed.
  public func elements() throws -> [Double] {
    switch source {
    case .here(let tensor): return try tensor.elements(as: Double.self)
    case .coming(let reading, let shape, let dtype):
      try reading.place.event.synchronize()
      return try Tensor.filling(shape, dtype: dtype) { target in
        let bytes = reading.place.memory.bytes[..<(shape.elementCount * dtype.size)]
        UnsafeMutableRawBufferPointer(start: target, count: bytes.count)
          .copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes))
      }.elements(as: Double.self)
    }
  }
}

extension Tensor {
  /// Starts copying the elements to the host; those of a CPU tensor are there already.
  public func pendingElements() throws -> PendingElements { try PendingElements(detached()) }
}

/// A page-locked buffer that a copy goes to. Allocating one may wait for the GPU, so buffers are kept for
/// reuse.
private final class Reading: Sendable {
  struct Place: Sendable {
    let memory: PinnedMemory
    let event: Event
    let device: Int
  }

  /// The smallest buffer, in bytes.
  private static let leastBytes = 256
  private static let unused = Mutex<[Place]>([])

  let place: Place

  init(_ byteCount: Int, in stream: Stream) throws {
    let device = stream.device
    let kept = Self.unused.withLock { unused -> Place? in
      let fitting = unused.firstIndex {
        $0.device == device.index && $0.memory.bytes.count >= byteCount
      }
      return fitting.map { unused.remove(at: $0) }
    }
    place =
      try kept
      ?? Place(
        memory: try PinnedMemory(max(Self.leastBytes, byteCount), on: device),
        event: try Event(device), device: device.index)
  }

  deinit {
    // The next copy into this buffer is enqueued behind this one.
    let place = place
    Self.unused.withLock { $0.append(place) }
  }
}
