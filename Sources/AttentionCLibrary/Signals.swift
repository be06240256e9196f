/// What a process does when a signal comes.
package typealias SignalHandler = @convention(c) (_ number: Int32) -> Void

extension sigaction {
  /// The function that is called, which may stand for ignoring the signal (`SIG_IGN`) or for what the system
  /// does by itself (`SIG_DFL`).
  package var handler: SignalHandler? {
    get {
      #if canImport(Glibc)
        __sigaction_handler.sa_handler
      #elseif canImport(Musl)
        __sa_handler.sa_handler
      #elseif canImport(Darwin)
        __sigaction_u.__sa_handler
      #endif
    }
    set {
      #if canImport(Glibc)
        __sigaction_handler.sa_handler = newValue
      #elseif canImport(Musl)
        __sa_handler.sa_handler = newValue
      #elseif canImport(Darwin)
        __sigaction_u.__sa_handler = newValue
      #endif
    }
  }
}

/// Whether the process was told to ignore the signal, as a shell tells those that it starts in the background.
package func isIgnored(signal number: Int32) -> Bool {
  var action = sigaction()
  sigaction(number, nil, &action)
  return unsafeBitCast(action.handler, to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self)
}
