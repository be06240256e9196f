import Synchronization

/// What is held of a device's memory, and by whom.
public final class MemoryLedger: Sendable {
  private struct State {
    var held: [UInt64: Entry] = [:]
    var heldBytes = 0
    var peakBytes = 0
    var cap: Int?
    var next: UInt64 = 0
  }

  private struct Entry {
    /// Put together only when it is read.
    let label: @Sendable () -> String
    let bytes: Int
  }

  private let device: String
  private let state = Mutex(State())

  init(device: String) { self.device = device }

  /// The most bytes that may be held together; nil for what the device has.
  public var cap: Int? {
    get { state.withLock { $0.cap } }
    set { state.withLock { $0.cap = newValue } }
  }

  public var heldBytes: Int { state.withLock { $0.heldBytes } }

  /// The most bytes that were held at a time.
  public var peakBytes: Int { state.withLock { $0.peakBytes } }

  /// Counts ``peakBytes`` anew.
  ///
  /// - Returns: the bytes held now.
  public func resetPeak() -> Int {
    state.withLock { state in
      state.peakBytes = state.heldBytes
      return state.heldBytes
    }
  }

  /// Notes a request, if the cap has room for it.
  ///
  /// - Returns: the number under which the request is noted.
  /// - Throws: ``CUDAError/outOfMemory(_:)``
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

  /// The report of a request that the device refused, the request itself not counted as held.
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

/// Why a request for memory was refused.
public struct DeviceMemoryReport: Hashable, Sendable, CustomStringConvertible {
  /// As `cuda:0`.
  public var device: String
  /// What the memory was for.
  public var label: String
  public var requestedBytes: Int
  public var heldBytes: Int
  /// What the device has, or the cap.
  public var limitBytes: Int
  public var isCap: Bool
  /// The largest holders with their bytes.
  public var largest: [String]

  public var description: String {
    let holders = largest.isEmpty ? "" : ", the largest: \(largest.joined(separator: ", "))"
    return "out of memory on \(device): \(requestedBytes) bytes asked for (\(label)), "
      + "\(heldBytes) held of \(isCap ? "a cap of" : "the device's") \(limitBytes)\(holders)"
  }
}
