import AttentionCLibrary
import TestSupport
import Testing

@testable import AttentionServing

@Suite struct RunMonitorTests {
  private func get(
    _ monitor: RunMonitor, _ path: String, method: String = "GET"
  ) -> (status: Int, text: String) {
    let reply = monitor.reply(to: .init(method: method, path: path))
    guard case .bytes(let bytes) = reply.body else { return (reply.status, "") }
    return (reply.status, String(decoding: bytes, as: UTF8.self))
  }

  @Test func theFilesOfTheRunAreAnswered() throws {
    let folder = TemporaryFolder()
    let monitor = RunMonitor(folder: folder.path)
    #expect(get(monitor, "/").text.contains("metrics.jsonl"))
    #expect(get(monitor, "/metrics.jsonl").status == 404)
    let figures = "{\"step\":1,\"loss\":2.5}\n"
    try folder.write("metrics.jsonl", Array(figures.utf8))
    try folder.write("configuration.json", Array("{}".utf8))
    try folder.write("secret", [1])
    #expect(get(monitor, "/metrics.jsonl") == (200, figures))
    #expect(get(monitor, "/configuration.json") == (200, "{}"))
    #expect(get(monitor, "/process") == (200, "{}"))
    for path in ["/secret", "/../secret", "/metrics.jsonl/", "//metrics.jsonl"] {
      #expect(get(monitor, path).status == 404, "\(path)")
    }
    #expect(get(monitor, "/metrics.jsonl", method: "POST").status == 405)
  }

  @Test func ofManyFiguresTheLastAreAnswered() throws {
    let folder = TemporaryFolder()
    let lines = (0..<200_000).map { "{\"step\":\($0),\"loss\":1.25}\n" }
    try folder.write("metrics.jsonl", Array(lines.joined().utf8))
    let text = get(RunMonitor(folder: folder.path), "/metrics.jsonl").text
    #expect(text.utf8.count <= 4 << 20 && text.utf8.count > (4 << 20) - 100)
    #expect(text.hasPrefix("{\"step\":") && text.hasSuffix(lines[199_999]))
  }

  @Test func aPipeIsNotRead() throws {
    let folder = TemporaryFolder()
    #expect(mkfifo(folder.path("metrics.jsonl"), 0o600) == 0)
    #expect(get(RunMonitor(folder: folder.path), "/metrics.jsonl").status == 404)
  }

  @Test func theMemoryOfAProcessIsKnown() throws {
    let answer = get(RunMonitor(folder: "/", process: getpid()), "/process").text
    #expect(answer.hasPrefix("{\"resident_bytes\":"), "\(answer)")
  }
}
