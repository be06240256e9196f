import ArgumentParser
import AttentionOperators
import AttentionTensors

extension Alignment: ExpressibleByArgument {}
extension DType: ExpressibleByArgument {}

/// The flags that `run` and `explain` share.
struct OperatorFlags: ParsableArguments {
  @Flag(help: "A query sees no later key. Linear attention and scans are always causal.")
  var causal = false

  @Option(
    help: ArgumentHelp(
      "bottom-right: query i stands at key i + s - t; top-left: at key i. Default bottom-right.",
      valueName: "edge"))
  var alignment: Alignment?

  @Option(
    help: ArgumentHelp(
      "Keys from LEFT before to RIGHT after the query's place; `all` for no limit.",
      valueName: "left,right"),
    transform: WindowLimits.init(argument:))
  var window: WindowLimits?

  @Option(
    parsing: .unconditional,
    help: "Multiplies the similarity. Default 1/sqrt(k), for cosine 8.", transform: Number.real)
  var scale: Double?

  @Option(
    parsing: .unconditional, help: "cosine: equal slices that are normalised. Default 1.",
    transform: Number.whole)
  var groups: Int?

  @Flag(name: .customLong("no-normalize"), help: "cosine: queries and keys are used as they are.")
  var skipsNormalization = false

  @Option(
    parsing: .unconditional, help: "exact: scores become c*tanh(s/c).", transform: Number.real)
  var softcap: Double?

  @Flag(help: "exact: subtracts 2^(-8(i+1)/h) * |distance| for head i.")
  var alibi = false

  @Flag(name: .customLong("l2norm"), help: "linear: queries and keys are normalised in the kernel.")
  var normalizesQueriesAndKeys = false

  @Flag(
    name: .customLong("normalize-weights"),
    help: "linear: weights sum to one; states have the summed keys as their last column.")
  var normalizesWeights = false

  @Flag(help: "scan: the step is log(1 + e^(step + step_bias)).")
  var softplus = false

  @Flag(help: "exact, on a GPU: float32 products may be rounded to TF32, which is faster.")
  var tf32 = false

  @Option(help: "cpu, cuda or cuda:N.")
  var device = "cpu"

  @Option(
    help: "What is computed in; tensors are converted. Default the queries' or inputs' dtype.")
  var dtype: DType?

  @Option(help: "This kernel, or an error with its objection.")
  var kernel: String?

  @Flag(help: "Gradients of every floating-point input.")
  var gradients = false

  @Flag(help: "The same bits in every run: all kernels give them, with or without this flag.")
  var deterministic = false

  var scoreTerms: ScoreTermOptions {
    ScoreTermOptions(softcap: softcap, alibi: alibi ? .standard : nil)
  }

  /// Flags by the libraries' names of their arguments, for messages.
  static let names = ["groups": "--groups", "softcap": "--softcap"]

  /// - Throws: ``CommandError`` if a flag has no meaning for `operation`, or the device or dtype is
  ///   none that this build computes on or in.
  func check(for operation: OperatorName) throws {
    let families: [(isMeant: Bool, flags: [(String, Bool)])] = [
      (
        operation.isExact,
        [
          ("--alignment", alignment != nil), ("--window", window != nil),
          ("--softcap", softcap != nil), ("--alibi", alibi), ("--tf32", tf32),
        ]
      ),
      (
        operation == .cosine,
        [("--groups", groups != nil), ("--no-normalize", skipsNormalization)]
      ),
      (
        operation == .linear,
        [("--l2norm", normalizesQueriesAndKeys), ("--normalize-weights", normalizesWeights)]
      ),
      (operation == .scan, [("--softplus", softplus)]),
      (operation != .scan, [("--scale", scale != nil)]),
    ]
    let foreign = families.filter { !$0.isMeant }.flatMap(\.flags)
    if let flag = foreign.first(where: \.1)?.0 {
      throw CommandError("\(flag) has no meaning for \(operation.rawValue)")
    }
    _ = try Self.device(named: device)
    if let dtype, !dtype.isFloatingPoint {
      throw CommandError(
        "--dtype", was: dtype.rawValue, mustBe: "float32, bfloat16, float16 or float64")
    }
  }

  /// - Throws: ``CommandError`` if `device` is none that there is.
  static func device(named device: String) throws -> Device {
    guard let found = Device(name: device) else {
      throw CommandError("--device", was: device, mustBe: "cpu, cuda or cuda:N")
    }
    return found
  }
}

/// What `--window` says: limits before and after the query's place, nil for none.
struct WindowLimits {
  let left: Int?
  let right: Int?

  /// - Throws: ``CommandError`` unless it is two limits with a comma between them.
  init(argument: String) throws {
    let parts = argument.split(separator: ",", omittingEmptySubsequences: false)
    let limits = parts.map { $0 == "all" ? Int.max : Int($0) ?? -1 }
    guard limits.count == 2, limits.allSatisfy({ $0 >= 0 }) else {
      throw CommandError(
        "--window", was: argument,
        mustBe: "LEFT,RIGHT, each a whole number or all, as 128,0 for 128 keys before a query")
    }
    left = parts[0] == "all" ? nil : limits[0]
    right = parts[1] == "all" ? nil : limits[1]
  }
}

/// Numbers as options of the tool, read with an error that says which are valid.
enum Number {
  static func whole(_ argument: String) throws -> Int {
    try read(argument, mustBe: "a whole number")
  }

  static func real(_ argument: String) throws -> Double {
    try read(argument, mustBe: "a number")
  }

  static func seed(_ argument: String) throws -> UInt64 {
    try read(argument, mustBe: "a whole number from 0 to \(UInt64.max)")
  }

  private static func read<N: LosslessStringConvertible>(
    _ argument: String, mustBe: String
  ) throws -> N {
    guard let number = N(argument) else { throw CommandError("it must be \(mustBe)") }
    return number
  }
}
