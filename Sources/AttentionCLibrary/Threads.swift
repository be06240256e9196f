/// The work of a thread, boxed to pass through a C pointer.
private final class ThreadBody: Sendable {
  let body: @Sendable () -> Void
  init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}

/// Calls `body` on a new detached thread.
///
/// - Returns: `false` if the system cannot create a thread.
package func startThread(_ body: @escaping @Sendable () -> Void) -> Bool {
  let context = Unmanaged.passRetained(ThreadBody(body))
  let failure: Int32
  // `pthread_t` is an integer in Glibc and a pointer in the others.
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
