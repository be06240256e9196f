import AttentionCLibrary
import Testing

@testable import AttentionTraining

@Suite struct ProgressReporterTests {
  @Test func aTerminalGetsABarThatIsRedrawn() async {
    await #expect(processExitsWith: .success) {
      let shown = try shownText(isTerminal: true)
      #expect(shown.contains("model 1.50k parameters"))
      let lines = shown.split(separator: "\n")
      #expect(lines.count == 3, "\(shown)")
      // The bar is drawn, replaced by the figure, and drawn again below.
      #expect(lines[1].contains("\r1/3 ━"))
      #expect(lines[1].hasSuffix("\r\u{1B}[Kvalidation 2.500 bits per byte at step 2"))
      #expect(lines[2].contains("\r2/3 ━"))
      #expect(lines[2].hasSuffix("the same command continues from there"))
      #expect(!shown.contains("checkpoint"))
    }
  }

  @Test func whatIsNoTerminalGetsALineAGroup() async {
    await #expect(processExitsWith: .success) {
      let shown = try shownText(isTerminal: false)
      #expect(
        shown == """
          model 1.50k parameters; training text 2.00kB in 3 documents; validation text 100B, 25 tokens, in 1 \
          document
          step 2/3  3.000 bits/byte  1.00k tokens/s  210MB  0:05 left
          validation 2.500 bits per byte at step 2
          checkpoint run/checkpoint-2
          stopped after step 2 of 3; the same command continues from there

          """)
    }
  }
}

/// Shows a short run, and returns what it writes to standard error.
private func shownText(isTerminal: Bool) throws -> String {
  var ends: [Int32] = [0, 0]
  try #require(pipe(&ends) == 0)
  dup2(ends[1], STDERR_FILENO)
  var reporter = ProgressReporter(isTerminal: isTerminal)
  let summary = RunSummary(
    steps: 3, parameterCount: 1500, trainingBytes: 2000, trainingTokens: 2000,
    trainingDocuments: 3, validationBytes: 100, validationTokens: 25, validationDocuments: 1,
    outputDirectory: "run")
  let events: [TrainingEvent] = [
    .started(summary, step: 0), .stepped(progress(1)), .stepped(progress(2)),
    .metrics(
      TrainingMetrics(
        step: 2, loss: 2, bitsPerByte: 3, learningRate: 1, gradientNorm: 1, tokensPerSecond: 1)),
    .validated(ValidationMetrics(step: 2, loss: 2, bitsPerByte: 2.5)),
    .savedCheckpoint(path: "run/checkpoint-2"), .stopped(step: 2, steps: 3),
  ]
  for event in events { reporter.show(event) }
  reporter.finish()
  var bytes = [UInt8](repeating: 0, count: 4096)
  let count = read(ends[0], &bytes, bytes.count)
  return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
}

private func progress(_ step: Int) -> StepProgress {
  StepProgress(
    step: step, steps: 3, bitsPerByte: 3, tokensPerSecond: 1000, memoryBytes: 210_000_000,
    timeLeft: .seconds(5))
}
