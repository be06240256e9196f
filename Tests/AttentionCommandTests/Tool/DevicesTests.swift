import FoundationEssentials
import Testing

@Suite struct DevicesTests {
  /// The part of the report that needs no measurements.
  private struct Report: Decodable {
    struct Rates: Decodable {
      let operationsPerSecond: Double
      let bytesPerSecond: Double
    }

    struct GPU: Decodable {
      let device: String
      let nominal: Rates
    }

    let instructionSet: String
    let instructionSets: [String]
    let threads: Int
    let memoryBytes: Int
    let nominal: Rates
    let gpus: [GPU]
    let withoutGpus: String?
    let readBandwidth: Double?
  }

  @Test func jsonSaysWhatThereIsWithoutMeasuring() throws {
    let outcome = try Tool()("devices", "--json")
    #expect(outcome.exitCode == 0, "\(outcome.error)")
    #expect(outcome.output.contains("\"memory_bytes\":"))
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    let report = try decoder.decode(Report.self, from: Data(outcome.output.utf8))
    #expect(report.instructionSets.contains(report.instructionSet))
    #expect(report.threads > 0 && report.memoryBytes > 0)
    #expect(report.nominal.operationsPerSecond > 1e9 && report.nominal.bytesPerSecond > 1e9)
    #expect(report.gpus.isEmpty == (report.withoutGpus != nil))
    #expect(report.readBandwidth == nil)
  }

  /// The tool, the Python package, the citation and the changelog have the same version, and agree on whether it
  /// is released.
  @Test func theVersionIsThatOfTheChangelog() throws {
    let root = "/" + #filePath.split(separator: "/").dropLast(4).joined(separator: "/")
    func lines(_ path: String) throws -> [Substring] {
      try String(contentsOf: URL(filePath: root + "/" + path), encoding: .utf8)
        .split(separator: "\n")
    }
    let heading = try #require(try lines("CHANGELOG.md").first { $0.hasPrefix("## ") })
    let unreleased = "## Unreleased: "
    let number =
      heading.hasPrefix(unreleased)
      ? heading.dropFirst(unreleased.count)
      : heading.dropFirst(3).prefix { $0 != " " }
    let version = try Tool()("--version").output.split(separator: "\n").first
    #expect(version == (heading.hasPrefix(unreleased) ? "\(number) (unreleased)" : number))
    #expect(try lines("CITATION.cff").contains("version: \(number)"))
    #expect(try lines("python/pyproject.toml").contains("version = \"\(number)\""))
  }
}
