import ArgumentParser
import AttentionCUDA
import AttentionConformance
import AttentionTensors
import AttentionTraining

/// `attention kernels`
struct Kernels: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "List, compile or remove the GPU kernels on disk.",
    discussion: """
      GPU kernels are compiled on first use and cached on disk. \(KernelCache.variable) names the \
      folder, which must not be writable by other users. --compile prepares the operators' kernels, so \
      that no later call waits for the compiler, and prints how long each took.
      """)

  @Flag(help: "Remove them all; they are compiled again when they are used.")
  var clear = false

  @Flag(help: "Compile the kernels of all operators by running the quick conformance cases.")
  var compile = false

  @Option(help: "For --compile: cuda or cuda:N.")
  var device = "cuda"

  func run() throws {
    let cache = try KernelCache.shared()
    guard !(clear && compile) else {
      throw CommandError("--clear and --compile are both given; one must be absent")
    }
    if clear {
      let count = try cache.clear()
      print("\(count) compiled kernels removed from \(cache.folder)")
    } else if compile {
      try compileAhead(cache)
    } else {
      try list(cache)
    }
  }

  private func list(_ cache: KernelCache) throws {
    let entries = try cache.entries
    let bytes = entries.reduce(0) { $0 + $1.bytes }
    for entry in entries { print("\(entry.name)  \(entry.bytes) bytes") }
    print("\(entries.count) compiled kernels, \(bytes) bytes, in \(cache.folder)")
    print("sources: \(KernelSource.names.joined(separator: ", "))")
  }

  private func compileAhead(_ cache: KernelCache) throws {
    let device = try OperatorFlags.device(named: device)
    guard case .cuda(let index) = device else {
      throw CommandError("--device", was: "\(device)", mustBe: "a GPU, as cuda:0")
    }
    _ = try CUDADevice.at(index)
    for operation in ConformanceSuite.Operator.allCases {
      let cases = ConformanceSuite.cases(of: operation, .quick)
      for (number, test) in cases.enumerated() {
        StandardError.progress("\(operation.rawValue) \(number + 1)/\(cases.count)")
        if let failure = test.check(seed: 0, on: device).failures.first {
          throw CommandError("\(failure); run attention verify --device \(device)")
        }
      }
    }
    StandardError.endProgress()
    report(CUDADevice.setups, cache)
  }

  private func report(_ setups: [KernelSetup], _ cache: KernelCache) {
    var table = TextTable([
      "kernel": .left, "macros": .left, "from": .left, "ready after": .right,
    ])
    for setup in setups {
      table.append([
        setup.variant.source, setup.variant.definitions.joined(separator: " "),
        setup.wasCompiled ? "compiler" : "disk", Quantity.seconds(setup.seconds),
      ])
    }
    for line in table.lines() { print(line) }
    for (what, part) in [
      ("compiled", setups.filter(\.wasCompiled)), ("from disk", setups.filter { !$0.wasCompiled }),
    ] where !part.isEmpty {
      let seconds = part.map(\.seconds).sorted()
      print(
        "\(part.count) \(what): median \(Quantity.seconds(seconds[seconds.count / 2])), longest "
          + "\(Quantity.seconds(seconds[seconds.count - 1])), together "
          + Quantity.seconds(seconds.reduce(0, +)))
    }
    print("in \(cache.folder)")
  }
}
