import ArgumentParser
import AttentionCUDA
import AttentionConformance
import AttentionOperators
import AttentionTensors
import AttentionTraining

/// `attention kernels`
struct Kernels: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "List, compile or remove the GPU kernels on disk.",
    discussion: """
      GPU kernels are compiled when they are first used, and kept. \(KernelCache.variable) names the \
      folder; nobody else may be allowed to write to it. --compile uses the operators' kernels now, so \
      that no later call waits for the compiler, and prints how long each took to be ready. --variants \
      lists kernels with the macros that problems give them, which Scripts/check-cuda compiles without a GPU.
      """)

  @Flag(help: "Remove them all; they are compiled again when they are used.")
  var clear = false

  @Flag(help: "Compile the kernels of all operators by running the quick conformance cases.")
  var compile = false

  @Flag(
    help:
      "List kernels with their macros, each for the architectures that it serves; no GPU is needed."
  )
  var variants = false

  @Flag(help: "For --variants: as JSON.")
  var json = false

  @Option(help: "For --compile: cuda or cuda:N.")
  var device = "cuda"

  func run() throws {
    let given = [("--clear", clear), ("--compile", compile), ("--variants", variants)].filter(\.1)
    guard given.count <= 1 else {
      throw CommandError("\(given[0].0) and \(given[1].0) are both given; one must be absent")
    }
    guard variants || !json else {
      throw CommandError("--json is given without --variants, which it is for")
    }
    if variants { return try listVariants() }
    let cache = try KernelCache.shared()
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

  /// What `Scripts/check-cuda` compiles, but for linear attention on Hopper.
  static let checked =
    CheckedKernel.exact + CheckedKernel.linear + CheckedKernel.scan + CheckedKernel.tensors
    + CheckedKernel.decoding + CheckedKernel.training + CheckedKernel.ladder

  private func listVariants() throws {
    if json {
      print(try JSON.text(Self.checked))
      return
    }
    var table = TextTable([
      "kernel": .left, "use": .left, "architecture": .left, "macros": .left,
    ])
    for kernel in Self.checked {
      table.append([
        kernel.source, kernel.use, kernel.architecture, kernel.definitions.joined(separator: " "),
      ])
    }
    for line in table.lines() { print(line) }
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
