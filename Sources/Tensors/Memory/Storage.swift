import AttentionCLibrary
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

/// Working memory of a kernel, from the tensors' pool, so that it is counted and reused.
public final class Scratch: @unchecked Sendable {
  public let base: UnsafeMutablePointer<Float>
  private let memory: HostMemory

  /// - Throws: ``TensorError/outOfMemory(requestedBytes:heldBytes:)`` if memory is exhausted.
  public init(floats count: Int) throws {
    memory = try HostMemory(byteCount: count * MemoryLayout<Float>.size)
    base = memory.base.assumingMemoryBound(to: Float.self)
  }
}

/// The most memory that this process can have.
package enum MachineMemory {
  /// In bytes: the machine's memory and swap space, or the limit of the process's control group if that is
  /// lower; an upper bound on the address space if the system reports neither.
  package static let bytes: Int = {
    let machine = total(of: "/proc/meminfo", ["MemTotal:", "SwapTotal:"]).map { $0 * kibibyte }
    let group = total(of: "/sys/fs/cgroup/memory.max", [""])
    return [machine, group, addressLimit].compactMap { $0 }.min() ?? addressLimit
  }()

  private static let kibibyte = 1024
  /// Small enough that sums of it do not overflow.
  private static let addressLimit = 1 << 57

  /// The sum of the numbers after `titles` at the start of lines; nil if one is missing.
  private static func total(of path: String, _ titles: [String]) -> Int? {
    guard let file = fopen(path, "re") else { return nil }
    defer { fclose(file) }
    var found: [String: Int] = [:]
    var line = [CChar](repeating: 0, count: 256)
    while fgets(&line, Int32(line.count), file) != nil {
      let bytes = line.prefix { $0 != 0 }.map(UInt8.init(bitPattern:))
      let text = String(decoding: bytes, as: UTF8.self)
      for title in titles where text.hasPrefix(title) {
        found[title] = text.dropFirst(title.count).split(whereSeparator: \.isWhitespace).first
          .flatMap { Int($0) }
      }
    }
    guard found.count == titles.count else { return nil }
    return found.values.reduce(0, +)
  }
}
