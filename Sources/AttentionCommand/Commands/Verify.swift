import ArgumentParser
import AttentionOperators
import AttentionCLibrary
import AttentionCUDA
import AttentionConformance
import AttentionTensors

/// `attention verify`
struct Verify: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Check every kernel against the float64 reference on this machine.",
    discussion: """
      Runs every conformance case with every kernel that has no objection and every instruction set \
      of the processor, with fresh memory filled with NaN. On a GPU, cases that its kernels object to \
      are counted by reason. Exit code 1 if a kernel is wrong or none ran.
      """)

  @Option(help: "cpu, cuda or cuda:N.")
  var device = "cpu"

  @Option(
    name: .customLong("operator"),
    help: ArgumentHelp(
      "One of \(ConformanceSuite.Operator.list). Default all.", valueName: "operator"))
  var operation: ConformanceSuite.Operator?

  @Option(help: "Run exact attention's cases in this dtype instead of their own.")
  var dtype: DType?

  @Option(
    parsing: .unconditional, help: "A seed for the random inputs. Default 0.",
    transform: Number.seed)
  var seed: UInt64 = 0

  @Flag(help: "Some of the cases, at short lengths.")
  var quick = false

  /// The exit code if a kernel is wrong or none ran, as opposed to an error of the caller.
  static let failed = ExitCode(1)

  func run() throws {
    if let dtype, !dtype.isFloatingPoint {
      throw CommandError(
        "--dtype", was: dtype.rawValue, mustBe: "float32, bfloat16, float16 or float64")
    }
    let device = try OperatorFlags.device(named: device)
    // Without a GPU every kernel would object to every case, and nothing would be verified.
    if case .cuda(let index) = device { _ = try CUDADevice.at(index) }
    MemoryPool.poisonsFreshMemory = true
    defer { MemoryPool.poisonsFreshMemory = false }
    let start = ContinuousClock.now
    var total = Tally()
    for operation in operation.map({ [$0] }) ?? ConformanceSuite.Operator.allCases {
      let cases = ConformanceSuite.cases(of: operation, quick ? .quick : .full).map { test in
        guard let dtype, var exact = test as? ExactCase else { return test }
        exact.dtype = dtype
        return exact
      }
      var tally = Tally()
      for (index, test) in cases.enumerated() {
        StandardError.progress("\(operation.rawValue) \(index + 1)/\(cases.count) \(test.name)")
        let result =
          device == .cpu ? test.check(seed: seed) : test.check(seed: seed, on: device)
        tally.add(result)
        StandardError.endProgress()
        for failure in result.failures { print("FAIL \(failure)") }
      }
      print("\(operation.rawValue): \(tally.summary)")
      for line in tally.objectionLines { print("  \(line)") }
      total.add(tally)
    }
    let seconds = Int((ContinuousClock.now - start).components.seconds)
    let verdict =
      total.failedCases > 0 ? "WRONG" : total.runs == 0 ? "NOTHING was verified" : "all right"
    print("\(verdict) after \(seconds) s")
    if total.failedCases > 0 || total.runs == 0 { throw Self.failed }
  }

  /// The combined results of many cases.
  private struct Tally {
    var cases = 0
    var runs = 0
    var failedCases = 0
    var worstShare = 0.0
    /// The number of cases that ran on no kernel.
    var idle = 0
    /// The number of cases with each objection.
    var objections: [String: Int] = [:]

    mutating func add(_ result: ConformanceResult) {
      cases += 1
      runs += result.runs
      failedCases += result.failures.isEmpty ? 0 : 1
      worstShare = max(worstShare, result.worstShare)
      idle += result.runs == 0 && result.failures.isEmpty ? 1 : 0
      for objection in result.objections { objections[objection, default: 0] += 1 }
    }

    mutating func add(_ other: Tally) {
      cases += other.cases
      runs += other.runs
      failedCases += other.failedCases
      worstShare = max(worstShare, other.worstShare)
      idle += other.idle
    }

    /// The most frequent objection first.
    var objectionLines: [String] {
      objections.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map {
        "\($0.value) case\($0.value == 1 ? "" : "s") without \($0.key)"
      }
    }

    var summary: String {
      "\(cases - failedCases - idle) of \(cases) cases right, "
        + (idle > 0 ? "\(idle) objected to, " : "")
        + "\(runs) kernel runs, largest error "
        + "\(Quantity.digits(worstShare * 100)) % of its bound"
    }
  }
}

extension ConformanceSuite.Operator: ExpressibleByArgument {
  /// The names, separated by commas.
  static let list = allCases.map(\.rawValue).joined(separator: ", ")
}
