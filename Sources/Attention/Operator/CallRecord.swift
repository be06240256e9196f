import Synchronization

/// The operator calls that some code makes, in order: to look at what a model attends to.
///
///     let record = CallRecord()
///     _ = try record.during { try model(tokens) }
///     let exact = record.calls.compactMap { $0 as? OperatorCall<ExactAttention> }
public final class CallRecord: Sendable {
  @TaskLocal private static var current: CallRecord?

  private let recorded = Mutex<[any Sendable]>([])

  public init() {}

  /// Values of type ``OperatorCall``.
  public var calls: [any Sendable] { recorded.withLock { $0 } }

  /// Calls `body`, and records what it calls on this thread.
  public func during<R>(_ body: () throws -> R) rethrows -> R {
    try Self.$current.withValue(self) { try body() }
  }

  static func add(_ call: some Sendable) {
    guard let current else { return }
    current.recorded.withLock { $0.append(call) }
  }
}
