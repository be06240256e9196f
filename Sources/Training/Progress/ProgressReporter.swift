import AttentionCLibrary
import AttentionCUDA
import AttentionTensors

/// Shows the progress of a run on standard error: a bar that is redrawn if that is a terminal, otherwise one
/// line per group of steps.
public struct ProgressReporter {
  private let isTerminal: Bool
  private let clock = ContinuousClock()
  private var lastDrawn: ContinuousClock.Instant?
  private var lastProgress: StepProgress?
  /// Whether the cursor is at the end of the bar.
  private var isBarOpen = false

  /// The least time between two redraws of the bar.
  private static let redrawInterval = Duration.milliseconds(100)

  public init() { self.init(isTerminal: isatty(STDERR_FILENO) == 1) }

  init(isTerminal: Bool) { self.isTerminal = isTerminal }

  /// Shows an event. Call it with each event of ``Trainer/run(start:stopAfter:report:shouldStop:)``.
  public mutating func show(_ event: TrainingEvent) {
    switch event {
    case .started(let summary, let step):
      for line in ProgressText.lines(summary, step: step) { print(line) }
    case .changed(let changes): for change in changes { print("\(change)") }
    case .unlocked(let folder):
      print("\(folder): the file system has no locks; nothing keeps a second run out")
    case .stepped(let progress):
      lastProgress = progress
      let isDue = lastDrawn.map { clock.now - $0 >= Self.redrawInterval } ?? true
      if isTerminal, isDue || progress.step == progress.steps { draw(progress) }
    case .metrics:
      guard !isTerminal, let lastProgress else { return }
      print(ProgressText.line(lastProgress))
    case .validated(let metrics):
      print(
        "validation \(metrics.bitsPerByte.text(digits: 3)) bits per byte at step \(metrics.step)")
      if isTerminal, let lastProgress { draw(lastProgress) }
    case .savedCheckpoint(let path):
      if !isTerminal { print("checkpoint \(path)") }
    case .stopped(let step, let steps):
      print("stopped after step \(step) of \(steps); the same command continues from there")
    }
  }

  /// Ends the bar's line. Call it when the run has ended, before printing anything else.
  public mutating func finish() {
    if isBarOpen { Terminal.write("\n") }
    isBarOpen = false
  }

  private mutating func draw(_ progress: StepProgress) {
    let bar = ProgressText.bar(progress, columns: Terminal.columns(of: STDERR_FILENO))
    Terminal.write("\r\(bar)\u{1B}[K")
    lastDrawn = clock.now
    isBarOpen = true
  }

  /// Prints a line in place of the bar.
  private mutating func print(_ line: String) {
    Terminal.write((isBarOpen ? "\r\u{1B}[K" : "") + line.escaped + "\n")
    isBarOpen = false
  }
}

/// Standard error as a terminal.
enum Terminal {
  private static let usualColumns = 80

  /// The width in characters.
  static func columns(of descriptor: Int32) -> Int {
    var size = winsize()
    guard ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else {
      return usualColumns
    }
    return Int(size.ws_col)
  }

  /// Writes to standard error. Errors are ignored: a run continues without a terminal.
  static func write(_ text: String) {
    var text = text
    text.withUTF8 { bytes in
      var rest = bytes[...]
      while !rest.isEmpty {
        let count = AttentionCLibrary.write(
          STDERR_FILENO, UnsafeBufferPointer(rebasing: rest).baseAddress, rest.count)
        guard count > 0 else { return }
        rest = rest.dropFirst(count)
      }
    }
  }
}
