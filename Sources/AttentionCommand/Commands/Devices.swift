import ArgumentParser
import AttentionOperators
import AttentionCLibrary
import AttentionCUDA
import AttentionTensors

/// `attention devices`
struct Devices: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "The devices and libraries of this machine.")

  @Flag(help: "Measure the ceilings: arithmetic in registers, reading from memory.")
  var measure = false

  @Flag(help: "Print JSON, rates per second; measured ceilings with --measure only.")
  var json = false

  func run() throws {
    if json {
      print(try JSON.line(DeviceReport(ceilings: measure ? Ceilings.measure() : nil)))
      return
    }
    try describe()
  }

  private func describe() throws {
    let rates = MachineRates.current
    let giga = 1e9
    let gibibyte = Double(1 << 30)
    print("cpu")
    print("  processor          \(Self.processorName ?? "unknown")")
    print(
      "  instruction sets   "
        + InstructionSet.supported.map {
          $0.rawValue + ($0 == .current ? " (used)" : "")
        }.joined(separator: ", "))
    print("  threads            \(Threads.count) of \(Threads.available)")
    print(
      "  nominal rates      \(Quantity.digits(rates.operationsPerSecond / giga)) GFLOP/s float32, "
        + "\(Quantity.digits(rates.bytesPerSecond / giga)) GB/s of \(rates.threads) processors; "
        + "estimates use these, --measure measures")
    if measure {
      let ceilings = try Ceilings.measure()
      let half = ceilings.bfloat16.map { ", \(Quantity.digits($0 / giga)) bfloat16" } ?? ""
      print(
        "  measured           \(Quantity.digits(ceilings.float32 / giga)) GFLOP/s float32\(half), "
          + "\(Quantity.digits(ceilings.readBandwidth / giga)) GB/s read")
    }
    print("  memory             \(Quantity.digits(Double(Self.memoryBytes) / gibibyte)) GiB")
    for line in GraphicsReport.lines() { print(line) }
    print(
      "ATTENTION_THREADS and ATTENTION_ISA set other threads and instructions, "
        + "\(KernelCache.variable) another folder of compiled kernels, \(MemoryCap.variable) the most "
        + "memory that is taken of a GPU.")
  }

  /// The machine's memory, without swap space.
  static var memoryBytes: Int {
    Int(sysconf(Int32(_SC_PHYS_PAGES))) * Int(sysconf(Int32(_SC_PAGESIZE)))
  }

  /// The name of the first processor in /proc/cpuinfo.
  static var processorName: String? {
    guard let file = fopen("/proc/cpuinfo", "r") else { return nil }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 512)
    while fgets(&line, Int32(line.count), file) != nil {
      let bytes = line.prefix { $0 != 0 }.map(UInt8.init(bitPattern:))
      let text = String(decoding: bytes, as: UTF8.self)
      guard text.hasPrefix("model name"), let colon = text.firstIndex(of: ":") else { continue }
      return text[text.index(after: colon)...].split(whereSeparator: \.isWhitespace)
        .joined(separator: " ")
    }
    return nil
  }
}
