import Glibc
import Synchronization

/// Turns Ctrl-C and a polite kill into a flag that training reads between steps.
///
/// The first signal sets the flag; a second one ends the process at once.
public enum StopSignals {
  private static let requested = Atomic<Bool>(false)

  /// Whether a signal has come since ``install()``.
  public static var isStopRequested: Bool { requested.load(ordering: .relaxed) }

  /// Handles SIGINT and SIGTERM from now on.
  public static func install() {
    // Also makes sure that the flag exists before a handler reads it.
    requested.store(false, ordering: .relaxed)
    for number in [SIGINT, SIGTERM] {
      var action = sigaction()
      action.__sigaction_handler.sa_handler = { number in
        guard StopSignals.requested.exchange(true, ordering: .relaxed) else { return }
        // What shells report for a process that a signal ended.
        _exit(128 + number)
      }
      sigemptyset(&action.sa_mask)
      action.sa_flags = SA_RESTART
      sigaction(number, &action, nil)
    }
  }
}
