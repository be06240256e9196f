import Glibc
import Testing

@testable import Training

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

/// Signals reach whichever thread takes them, a moment later.
private func waitForStop() {
  for _ in 0..<1000 where !StopSignals.isStopRequested { usleep(10_000) }
  precondition(StopSignals.isStopRequested)
}

private func pauseForLong() { sleep(10) }
