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
      Kernels run in turns in one process; printed are the median, the spread (the distance \
      between the quartiles as a share of the median), the rate of the mathematics' operations, \
      that as a share of the float32 multiply-adds that the machine does in registers (measured \
      before each table on all threads, the best until then; bfloat16 products can be faster), \
      the most memory held beside inputs and outputs, and how many times as long the unfused \
      computation takes. `training` is forward and all gradients. For linear attention and scans, \
      growth is the time divided by that of linear growth from the shortest length. Of a scan the \
      rate is that of the bytes of its inputs, outputs and gradients, each moved once, as a share \
      of a plain copy's; of a selective scan that of the exponentials of its definition (once \
      forward, once more for training), as a share of a loop of exponentials.

      On a GPU a turn is one call by events, the cache emptied before it, and shares are of a product \
      of large matrices in the same type, of a copy, or of exponentials of what is in memory.
      """)

  @Argument(
    help: ArgumentHelp("Of softmax, cosine, linear, scan. Default all.", valueName: "operator"),
    transform: OperatorName.init(argument:))
  var operations: [OperatorName] = []

  @Flag(help: "The figures as JSON on standard output.")
  var json = false

  @Option(
    help: ArgumentHelp("A picture of the time per token over the length.", valueName: "file.svg"))
  var plot: String?

  @Flag(help: "Short lengths and few turns: seconds.")
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
