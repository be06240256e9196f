/// What a thread is to do.
private final class ThreadBody: Sendable {
  let body: @Sendable () -> Void
  init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}

/// Calls `body` on a thread of its own that nobody waits for.
///
/// - Returns: `false` if the system has no thread to give.
package func startThread(_ body: @escaping @Sendable () -> Void) -> Bool {
  let context = Unmanaged.passRetained(ThreadBody(body))
  let failure: Int32
  // The type of a thread is a number in one library, a pointer in the others.
  #if canImport(Glibc)
    var thread = pthread_t()
    failure = pthread_create(&thread, nil, { runThread($0) }, context.toOpaque())
    if failure == 0 { pthread_detach(thread) }
  #else
    var thread: pthread_t?
    failure = pthread_create(&thread, nil, { runThread($0) }, context.toOpaque())
    if failure == 0, let thread { pthread_detach(thread) }
  #endif
  if failure != 0 { context.release() }
  return failure == 0
}

private func runThread(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
  guard let context else { return nil }
  Unmanaged<ThreadBody>.fromOpaque(context).takeRetainedValue().body()
  return nil
}
