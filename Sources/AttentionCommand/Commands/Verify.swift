import ArgumentParser
import Attention
import Conformance
import Glibc
import Tensors

/// `attention verify`
struct Verify: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Check every kernel against the float64 reference on this machine.",
    discussion: """
      Runs every combination of the conformance cases with every kernel that has no objection and \
      every instruction set of the processor, fresh memory filled with NaN. Exit code 1 if a \
      kernel is wrong.
      """)

  @Option(help: "cpu.")
  var device = "cpu"

  @Option(
    name: .customLong("operator"),
    help: ArgumentHelp(
      "One of \(ConformanceSuite.Operator.list). Default all.", valueName: "operator"))
  var operation: ConformanceSuite.Operator?

  @Option(help: "Other numbers for every case. Default 0.")
  var seed: UInt64 = 0

  @Flag(help: "A share of the cases, at short lengths.")
  var quick = false

  /// What is returned to the shell where a kernel is wrong: not a mistake of the caller.
  static let failed = ExitCode(1)

  func run() throws {
    try OperatorFlags.check(device: device)
    MemoryPool.poisonsFreshMemory = true
    defer { MemoryPool.poisonsFreshMemory = false }
    let start = ContinuousClock.now
    var total = Tally()
    for operation in operation.map({ [$0] }) ?? ConformanceSuite.Operator.allCases {
      let cases = ConformanceSuite.cases(of: operation, quick ? .quick : .full)
      var tally = Tally()
      for (index, test) in cases.enumerated() {
        StandardError.progress("\(operation.rawValue) \(index + 1)/\(cases.count) \(test.name)")
        let result = test.check(seed: seed)
        tally.add(result)
        StandardError.endProgress()
        for failure in result.failures { print("FAIL \(failure)") }
      }
      print("\(operation.rawValue): \(tally.summary)")
      total.add(tally)
    }
    let seconds = Double((ContinuousClock.now - start).components.seconds)
    print("\(total.failedCases == 0 ? "all right" : "WRONG") after \(Int(seconds)) s")
    if total.failedCases > 0 { throw Self.failed }
  }

  /// What many cases showed together.
  private struct Tally {
    var cases = 0
    var runs = 0
    var failedCases = 0
    var worstShare = 0.0

    mutating func add(_ result: ConformanceResult) {
      cases += 1
      runs += result.runs
      failedCases += result.failures.isEmpty ? 0 : 1
      worstShare = max(worstShare, result.worstShare)
    }

    mutating func add(_ other: Tally) {
      cases += other.cases
      runs += other.runs
      failedCases += other.failedCases
      worstShare = max(worstShare, other.worstShare)
    }

    var summary: String {
      "\(cases - failedCases) of \(cases) cases right, \(runs) kernel runs, largest error "
        + "\(Quantity.digits(worstShare * 100)) % of its bound"
    }
  }
}

extension ConformanceSuite.Operator: ExpressibleByArgument {
  /// As `exact, linear`.
  static let list = allCases.map(\.rawValue).joined(separator: ", ")
}
