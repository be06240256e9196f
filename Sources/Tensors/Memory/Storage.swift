import AttentionCUDA

/// Bytes that tensors view, in host or GPU memory. Written once, by the operation that makes them, then
/// shared.
enum Storage: Sendable {
  case host(HostMemory)
  case device(DeviceMemory, DeviceQueue)
  /// No bytes: the storage of placeholders for a device.
  case absent(Device)

  var device: Device {
    switch self {
    case .host: .cpu
    case .device(_, let queue): queue.place
    case .absent(let device): device
    }
  }

  var byteCount: Int {
    switch self {
    case .host(let memory): memory.byteCount
    case .device(let memory, _): memory.byteCount
    case .absent: 0
    }
  }
}

/// Host memory.
final class HostMemory: @unchecked Sendable {
  let base: UnsafeMutableRawPointer
  let byteCount: Int
  /// Keeps borrowed memory alive; nil for memory of the pool.
  private let owner: (any Sendable)?

  /// Uninitialised memory from the pool.
  init(byteCount: Int) throws {
    self.base = try MemoryPool.allocate(byteCount)
    self.byteCount = byteCount
    self.owner = nil
  }

  /// Memory that `owner` keeps alive.
  init(borrowing base: UnsafeMutableRawPointer, byteCount: Int, owner: any Sendable) {
    self.base = base
    self.byteCount = byteCount
    self.owner = owner
  }

  deinit {
    if owner == nil { MemoryPool.release(base, byteCount) }
  }
}
