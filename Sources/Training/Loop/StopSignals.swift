import AttentionCLibrary
import Synchronization

/// Turns SIGINT (Ctrl-C), SIGTERM and SIGHUP into a flag that training reads between steps.
///
/// The first signal sets the flag; a second SIGINT or SIGTERM ends the process at once. SIGHUP never does,
/// since a closing terminal may send it twice.
public enum StopSignals {
  /// The number of the first signal received; 0 if none.
  private static let received = Atomic<Int32>(0)
  private static let handled = [SIGINT, SIGTERM, SIGHUP]

  /// The signal received since ``install()``; nil if none.
  public static var signal: Int32? {
    let number = received.load(ordering: .relaxed)
    return number == 0 ? nil : number
  }

  /// Whether a signal has been received since ``install()``.
  public static var isStopRequested: Bool { signal != nil }

  /// The exit code that shells report for a process ended by `signal`.
  public static func exitCode(for signal: Int32) -> Int32 { 128 + signal }

  /// Handles SIGINT, SIGTERM and SIGHUP from now on. An ignored SIGHUP, as under `nohup`, stays ignored.
  public static func install() {
    // Also initialises the flag before a handler reads it.
    received.store(0, ordering: .relaxed)
    for number in handled where number != SIGHUP || !isIgnored(signal: number) {
      set(number) { number in
        let (isFirst, _) = StopSignals.received.compareExchange(
          expected: 0, desired: number, ordering: .relaxed)
        guard !isFirst, number != SIGHUP else { return }
        _exit(StopSignals.exitCode(for: number))
      }
    }
  }

  /// Restores the default action of the signals.
  public static func uninstall() {
    for number in handled where !isIgnored(signal: number) { set(number, SIG_DFL) }
  }

  private static func set(_ number: Int32, _ handler: SignalHandler?) {
    var action = sigaction()
    action.handler = handler
    sigemptyset(&action.sa_mask)
    action.sa_flags = SA_RESTART
    sigaction(number, &action, nil)
  }
}
