import AttentionTensors

/// The text of the progress display.
enum ProgressText {
  private static let leastBar = 8
  private static let greatestBar = 40

  /// The lines printed before the first step.
  static func lines(_ summary: RunSummary, step: Int) -> [String] {
    func text(_ bytes: Int, _ tokens: Int, _ documents: Int) -> String {
      let size = "\(Double(bytes).shortText)B"
      return (tokens == bytes ? size : size + ", \(Double(tokens).shortText) tokens,")
        + " in \(documents) document" + (documents == 1 ? "" : "s")
    }
    var lines = [
      """
      model \(Double(summary.parameterCount).shortText) parameters; \
      training text \(text(summary.trainingBytes, summary.trainingTokens, summary.trainingDocuments)); \
      validation text \(text(summary.validationBytes, summary.validationTokens, summary.validationDocuments))
      """
    ]
    if step >= summary.steps {
      lines.append(
        """
        the run in \(summary.outputDirectory) is complete: step \(step) is done and training.steps is \
        \(summary.steps); a larger one continues it, --start-over begins anew
        """)
    } else if step > 0 {
      lines.append("continuing after step \(step) of \(summary.steps)")
    }
    return lines
  }

  /// One line without a bar: `step 120/600  2.713 bits/byte  12.3k tokens/s  210MB  1:23 left`.
  static func line(_ progress: StepProgress) -> String {
    "step \(progress.step)/\(progress.steps)  " + figures(progress)
  }

  /// The line with a bar, cut off at `columns`.
  static func bar(_ progress: StepProgress, columns: Int) -> String {
    let digits = "\(progress.steps)".count
    let step = "\(progress.step)"
    let head = String(repeating: " ", count: max(0, digits - step.count)) + step
    let figures = figures(progress)
    // One column stays free: some terminals wrap a full line.
    let room = columns - 1 - digits * 2 - figures.count - 4
    let width = min(greatestBar, max(leastBar, room))
    let filled = min(width, progress.step * width / max(1, progress.steps))
    let drawn =
      String(repeating: "━", count: filled) + String(repeating: "┄", count: width - filled)
    return String("\(head)/\(progress.steps) \(drawn)  \(figures)".prefix(max(0, columns - 1)))
  }

  private static func figures(_ progress: StepProgress) -> String {
    """
    \(progress.bitsPerByte.text(digits: 3)) bits/byte  \
    \(progress.tokensPerSecond.shortText) tokens/s  \(Double(progress.memoryBytes).shortText)B  \
    \(progress.timeLeft.clockText) left
    """
  }
}
