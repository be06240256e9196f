import ArgumentParser
import AttentionCLibrary
import AttentionTensors

/// `attention time`
struct Time: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "How long a call takes on the tensors of a safetensors file.",
    discussion: """
      Prints one JSON line per turn: {"kernel": …, "seconds": …, "extra_bytes": …}. The first call is a \
      warm-up and is not printed. With --interactive a turn runs for each line of standard input, so \
      that another program can measure its own calls in between.

      matmul reads left [...,m,k] and right [...,k,n].
      """)

  @Argument(
    help: ArgumentHelp("softmax, cosine, linear, scan or matmul.", valueName: "operator"),
    transform: TimedOperator.init(argument:))
  var operation: TimedOperator

  @Argument(help: ArgumentHelp("The tensors to read.", valueName: "in.safetensors"))
  var input: String

  @OptionGroup var flags: OperatorFlags

  @Option(
    help:
      """
      forward; backward: the gradients of an earlier forward pass; or training: both. Without an \
      output_gradient, one is drawn.
      """)
  var pass = TimedPass.forward

  @Option(parsing: .unconditional, help: "The number of turns.", transform: Number.whole)
  var turns = 10

  @Option(
    parsing: .unconditional,
    help: "The least seconds per turn: short calls are repeated and averaged.",
    transform: Number.real)
  var turnSeconds = 0.02

  @Flag(help: "On a GPU: a turn is one call with a cold cache.")
  var cold = false

  @Flag(help: "Run a turn for each line of standard input.")
  var interactive = false

  func run() throws {
    guard turns > 0 else { throw CommandError("--turns", was: "\(turns)", mustBe: "at least 1") }
    guard turnSeconds >= 0, turnSeconds <= Self.longestTurn else {
      throw CommandError(
        "--turn-seconds", was: "\(turnSeconds)", mustBe: "from 0 to \(Int(Self.longestTurn))")
    }
    let call = try TimedCall(operation, path: input, flags, pass)
    let timer = try TurnTimer(OperatorFlags.device(named: flags.device))
    let before = timer.resetPeak()
    let warmUp = try timer.seconds(1, call.run)
    let extra = max(0, timer.peakBytes - before)
    // On a GPU the first call compiles kernels.
    let first = timer.measuresSingleCalls ? try timer.seconds(1, call.run) : warmUp
    let repetitions = max(1, Int(turnSeconds / max(first, 1e-7)))
    func turn() throws {
      let seconds =
        try cold ? timer.coldSeconds(call.run) : timer.seconds(repetitions, call.run)
      print(try JSON.line(Turn(kernel: call.kernel, seconds: seconds, extraBytes: extra)))
      try StandardOutput.flush()
    }
    if interactive {
      while readLine() != nil { try turn() }
    } else {
      for _ in 0..<turns { try turn() }
    }
  }

  /// The longest turn that may be requested: a day.
  private static let longestTurn = 86_400.0

  private struct Turn: Encodable {
    let kernel: String
    let seconds: Double
    let extraBytes: Int
  }
}
