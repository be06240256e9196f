import AttentionCLibrary
import Testing

@testable import AttentionTraining

@Suite struct StopSignalsTests {
  @Test func theFirstSignalOnlySetsTheFlag() async {
    await #expect(processExitsWith: .success) {
      StopSignals.install()
      precondition(!StopSignals.isStopRequested)
      kill(getpid(), SIGINT)
      waitForStop()
      exit(EXIT_SUCCESS)
    }
    await #expect(processExitsWith: .success) {
      StopSignals.install()
      kill(getpid(), SIGTERM)
      waitForStop()
      exit(EXIT_SUCCESS)
    }
  }

  /// Both the system and the shell signal the end of a terminal.
  @Test func theEndOfATerminalMayComeTwice() async {
    await #expect(processExitsWith: .success) {
      StopSignals.install()
      for _ in 0..<2 {
        kill(getpid(), SIGHUP)
        waitForStop()
      }
      usleep(100_000)
      precondition(StopSignals.signal == SIGHUP)
      exit(EXIT_SUCCESS)
    }
  }

  @Test func whatNohupIgnoresStaysIgnored() async {
    await #expect(processExitsWith: .success) {
      signal(SIGHUP, SIG_IGN)
      StopSignals.install()
      kill(getpid(), SIGHUP)
      usleep(100_000)
      precondition(!StopSignals.isStopRequested)
      exit(EXIT_SUCCESS)
    }
  }

  @Test func afterwardsSignalsEndTheProcessAgain() async {
    await #expect(processExitsWith: .signal(SIGINT)) {
      StopSignals.install()
      StopSignals.uninstall()
      kill(getpid(), SIGINT)
      pauseForLong()
    }
  }

  @Test func theSecondSignalEndsTheProcess() async {
    await #expect(processExitsWith: .exitCode(128 + SIGTERM)) {
      StopSignals.install()
      kill(getpid(), SIGINT)
      waitForStop()
      kill(getpid(), SIGTERM)
      pauseForLong()
    }
  }
}

/// Signals are delivered to any thread, after a moment.
private func waitForStop() {
  for _ in 0..<1000 where !StopSignals.isStopRequested { usleep(10_000) }
  precondition(StopSignals.isStopRequested)
}

private func pauseForLong() { sleep(10) }
