import FoundationEssentials
import Testing

@Suite struct BenchTests {
  @Test func everyKernelIsMeasuredBesideTheUnfusedComputation() throws {
    let tool = try Tool()
    let outcome = try tool(
      "bench", "linear", "--quick", "--json", "--plot", tool.path("rates.svg"))
    #expect(outcome.exitCode == 0, "\(outcome.error)")
    struct Report: Decodable {
      struct Row: Decodable {
        let operation: String
        let kernel: String
        let length: Int
        let seconds: Double
        let shareOfPeak: Double
        let extraMemory: Int
        let speedup: Double?
        let growth: Double?
      }
      let peak: Double
      let rows: [Row]
    }
    #expect(!outcome.output.contains(/"[a-z]+[A-Z]\w*" :/))
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    let report = try decoder.decode(Report.self, from: Data(outcome.output.utf8))
    #expect(report.peak > 1e9)
    let additive = report.rows.filter { $0.operation == "linear" }
    #expect(Set(additive.map(\.kernel)) == ["cpu.chunked", "cpu.split", "cpu.step", "cpu.unfused"])
    let erasing = report.rows.filter { $0.operation == "linear, gated delta" }
    #expect(Set(erasing.map(\.kernel)).isSuperset(of: ["cpu.erasing", "cpu.erasing.step"]))
    #expect(Set(report.rows.map(\.length)).count > 1)
    for row in report.rows {
      #expect(row.seconds > 0 && row.shareOfPeak > 0 && row.extraMemory >= 0)
      #expect((row.speedup != nil) == (row.operation == "linear") && row.growth != nil)
    }
    let picture = try String(contentsOf: URL(filePath: tool.path("rates.svg")), encoding: .utf8)
    for words in [
      "linear, float32, 2 heads of 64", "chunked forward", "unfused training", "length (tokens)",
      "time per token (µs)",
    ] { #expect(picture.contains(">\(words)</text>"), "\(words)") }
    // Two lengths were measured for the additive update, one for the delta rule: one panel.
    #expect(picture.matches(of: /class="data"/).count == 1)
    let lines = picture.matches(of: /<polyline class="([^"]*)"/).map { $0.output.1 }
    #expect(lines.count == 7 && Set(lines).count == lines.count, "\(lines)")
  }

  @Test func scansAreComparedWithCopiesAndExponentials() throws {
    let outcome = try Tool()("bench", "scan", "--quick")
    #expect(outcome.exitCode == 0, "\(outcome.error)")
    for word in ["cpu.scan", "cpu.blocked", "cpu.step", "GB/s", "Gexp/s", "selective scan forward"]
    {
      #expect(outcome.output.contains(word), "\(word)")
    }
  }
}
