import Synchronization

/// The device memory that is held, and by whom.
public final class MemoryLedger: Sendable {
  private struct State {
    var held: [UInt64: Entry] = [:]
    var heldBytes = 0
    var peakBytes = 0
    var cap: Int?
    var next: UInt64 = 0
  }

  private struct Entry {
    /// Evaluated only when a report is made.
    let label: @Sendable () -> String
    let bytes: Int
  }

  private let device: String
  private let state = Mutex(State())

  init(device: String) { self.device = device }

  /// The most bytes that may be held at once; nil if only the device limits them.
  public var cap: Int? {
    get { state.withLock { $0.cap } }
    set { state.withLock { $0.cap = newValue } }
  }

  public var heldBytes: Int { state.withLock { $0.heldBytes } }

  /// The most bytes held at once since the last ``resetPeak()``.
  public var peakBytes: Int { state.withLock { $0.peakBytes } }

  /// Restarts ``peakBytes`` from the bytes held now.
  ///
  /// - Returns: the bytes held now.
  public func resetPeak() -> Int {
    state.withLock { state in
      state.peakBytes = state.heldBytes
      return state.heldBytes
    }
  }

  /// Records an allocation, if the cap allows it.
  ///
  /// - Returns: the number of its entry.
  /// - Throws: ``CUDAError/outOfMemory(_:)`` if it would exceed the cap.
  func hold(
    _ label: @autoclosure @escaping @Sendable () -> String, bytes: Int
  ) throws -> UInt64 {
    try state.withLock { state in
      if let cap = state.cap, bytes > cap - state.heldBytes {
        throw CUDAError.outOfMemory(report(state, label(), bytes, limit: cap, isCap: true))
      }
      state.next += 1
      state.held[state.next] = Entry(label: label, bytes: bytes)
      state.heldBytes += bytes
      state.peakBytes = max(state.peakBytes, state.heldBytes)
      return state.next
    }
  }

  func release(_ number: UInt64) {
    state.withLock { state in
      if let entry = state.held.removeValue(forKey: number) { state.heldBytes -= entry.bytes }
    }
  }

  /// The report of an allocation that the device refused; removes its entry, so that it is not counted.
  func refusal(_ number: UInt64, deviceBytes: Int) -> DeviceMemoryReport {
    state.withLock { state in
      guard let entry = state.held.removeValue(forKey: number) else {
        return report(state, "", 0, limit: deviceBytes, isCap: false)
      }
      state.heldBytes -= entry.bytes
      return report(state, entry.label(), entry.bytes, limit: deviceBytes, isCap: false)
    }
  }

  private static let listed = 5

  private func report(
    _ state: State, _ label: String, _ bytes: Int, limit: Int, isCap: Bool
  ) -> DeviceMemoryReport {
    let largest = state.held.sorted { ($1.value.bytes, $0.key) < ($0.value.bytes, $1.key) }
    return DeviceMemoryReport(
      device: device, label: label, requestedBytes: bytes, heldBytes: state.heldBytes,
      limitBytes: limit, isCap: isCap,
      largest: largest.prefix(Self.listed).map { "\($0.value.label()) \($0.value.bytes)" })
  }
}

/// Why an allocation was refused.
public struct DeviceMemoryReport: Hashable, Sendable, CustomStringConvertible {
  /// Such as `cuda:0`.
  public var device: String
  /// The purpose of the memory.
  public var label: String
  public var requestedBytes: Int
  public var heldBytes: Int
  /// The device's memory, or the cap.
  public var limitBytes: Int
  public var isCap: Bool
  /// The largest holders with their bytes.
  public var largest: [String]

  public var description: String {
    let holders = largest.isEmpty ? "" : ", the largest: \(largest.joined(separator: ", "))"
    return "out of memory on \(device): \(requestedBytes) bytes requested (\(label)), "
      + "\(heldBytes) held of \(isCap ? "a cap of" : "the device's") \(limitBytes)\(holders)"
  }
}
