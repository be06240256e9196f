import ArgumentParser
import Attention
import Glibc
import Tensors

/// `attention devices`
struct Devices: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "What this machine has and what kernels will use of it.")

  func run() throws {
    let rates = MachineRates.current
    let giga = 1e9
    let gibibyte = Double(1 << 30)
    let memory = Double(sysconf(Int32(_SC_PHYS_PAGES))) * Double(sysconf(Int32(_SC_PAGESIZE)))
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
        + "\(Quantity.digits(rates.bytesPerSecond / giga)) GB/s; estimates use these, "
        + "`attention bench` measures")
    print("  memory             \(Quantity.digits(memory / gibibyte)) GiB")
    print("This build has CPU kernels only; no GPU is looked for.")
    print("ATTENTION_THREADS and ATTENTION_ISA set other threads and instructions.")
  }

  /// The name that Linux gives the first processor.
  private static var processorName: String? {
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
