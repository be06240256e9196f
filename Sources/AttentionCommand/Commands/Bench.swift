import ArgumentParser
import AttentionOperators
import AttentionCLibrary
import AttentionTensors
import AttentionTraining

/// `attention bench`
struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Speed, rate and memory of every kernel, beside the unfused computation.",
    discussion: """
      Kernels run in turns in one process. Columns: the median; the spread (the interquartile range \
      as a fraction of the median); the rate of the mathematical definition's operations, and the \
      same as a fraction of the machine's float32 multiply-adds in registers (measured on all \
      threads before each table, the best so far; bfloat16 products can be faster); the most memory \
      held besides inputs and outputs; and the time of the unfused computation divided by the \
      kernel's. `training` is forward and all gradients. For linear attention and scans, growth is \
      the time divided by that of linear growth from the shortest length. The rate of a gated scan \
      counts the bytes of its inputs, outputs and gradients, each moved once, as a fraction of a \
      plain copy; that of a selective scan the exponentials of its definition (once forward, once \
      more for training), as a fraction of a loop of exponentials.

      On a GPU a turn is one call timed by events with a cold cache, and fractions are of a large \
      matrix product in the same dtype, of a copy, or of exponentials of numbers in memory.
      """)

  @Argument(
    help: ArgumentHelp("Any of softmax, cosine, linear, scan. Default all.", valueName: "operator"),
    transform: OperatorName.init(argument:))
  var operations: [OperatorName] = []

  @Flag(help: "Print the figures as JSON.")
  var json = false

  @Option(
    help: ArgumentHelp("A chart of the time per token over the length.", valueName: "file.svg"))
  var plot: String?

  @Flag(help: "Short lengths and few turns, for a run of seconds.")
  var quick = false

  @Flag(help: "softmax, cosine: causal.")
  var causal = false

  @Option(help: "cpu, cuda or cuda:N.")
  var device = "cpu"

  func run() throws {
    let device = try OperatorFlags.device(named: device)
    if let plot { try OutputPath.check(plot) }
    let report = try BenchPlan(
      operations: operations.isEmpty ? OperatorName.allCases : operations, isCausal: causal,
      isQuick: quick, device: device
    ).run { part in
      StandardError.endProgress()
      if !json { print(BenchTable(part).text, terminator: "\n\n") }
      fflush(nil)
    }
    StandardError.endProgress()
    if json { print(try JSON.text(report)) }
    if let plot { try AtomicFile.write(BenchChart(report).svg(), to: plot) }
  }
}
