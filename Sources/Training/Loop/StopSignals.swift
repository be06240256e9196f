import AttentionCLibrary
import Synchronization

/// Turns Ctrl-C, a polite kill and the end of a terminal into a flag that training reads between steps.
///
/// The first signal sets the flag; a second Ctrl-C or kill ends the process at once. A terminal that
/// closes may say so twice, so that never does.
public enum StopSignals {
  /// The number of the first signal; 0 for none.
  private static let received = Atomic<Int32>(0)
  private static let handled = [SIGINT, SIGTERM, SIGHUP]

  /// The signal that has come since ``install()``, if one has.
  public static var signal: Int32? {
    let number = received.load(ordering: .relaxed)
    return number == 0 ? nil : number
  }

  /// Whether a signal has come since ``install()``.
  public static var isStopRequested: Bool { signal != nil }

  /// What shells report for a process that `signal` ended.
  public static func exitCode(for signal: Int32) -> Int32 { 128 + signal }

  /// Handles SIGINT, SIGTERM and SIGHUP from now on. SIGHUP stays ignored if it was, as under `nohup`.
  public static func install() {
    // Also makes sure that the flag exists before a handler reads it.
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

  /// Lets the signals end the process again, as they do before ``install()``.
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
