import FoundationEssentials
import AttentionCLibrary
import TestSupport
import Testing

@testable import AttentionTraining

@Suite struct MetricsFileTests {
  private func line(_ step: Int) -> TrainingMetrics {
    TrainingMetrics(
      step: step, loss: 1.5, bitsPerByte: 2.25, learningRate: 0.001, gradientNorm: 0.5,
      tokensPerSecond: 1000)
  }

  private func read(_ path: String) throws -> String {
    String(decoding: try Data(contentsOf: URL(filePath: path)), as: UTF8.self)
  }

  @Test func linesAreJSONWithTheirKeys() throws {
    let folder = TemporaryFolder()
    let path = folder.path + "/metrics.jsonl"
    let file = try MetricsFile(path: path, continuingAfter: nil)
    try file.append(line(10))
    try file.append(ValidationMetrics(step: 10, loss: 1, bitsPerByte: 1.5))
    #expect(
      try read(path) == """
        {"bits_per_byte":2.25,"gradient_norm":0.5,"learning_rate":0.001,"loss":1.5,"step":10,\
        "tokens_per_second":1000}
        {"step":10,"validation_bits_per_byte":1.5,"validation_loss":1}

        """)
  }

  @Test func continuingDropsLaterAndTornLines() throws {
    let folder = TemporaryFolder()
    let path = folder.path + "/metrics.jsonl"
    let file = try MetricsFile(path: path, continuingAfter: nil)
    for step in [10, 20, 30] { try file.append(line(step)) }
    let upTo20 = try read(path).split(separator: "\n").prefix(2).joined(separator: "\n") + "\n"
    let text = try read(path) + "{\"step\":15,\"lo"
    try folder.write("metrics.jsonl", text)
    let continued = try MetricsFile(path: path, continuingAfter: 20)
    #expect(try read(path) == upTo20)
    try continued.append(line(30))
    #expect(try read(path).split(separator: "\n").count == 3)
    _ = try MetricsFile(path: path, continuingAfter: nil)
    #expect(try read(path).isEmpty)
  }

  @Test func whatCannotBeReadIsNotEmptied() throws {
    let folder = TemporaryFolder()
    let target = try folder.write("target", "mine")
    let path = folder.path("metrics.jsonl")
    symlink(target, path)
    for step in [nil, 5] {
      let error = #expect(throws: TrainingError.self) {
        _ = try MetricsFile(path: path, continuingAfter: step)
      }
      #expect(
        error?.description
          == "\(path): is a symbolic link; it must be a regular file or absent")
    }
    #expect(folder.bytes("target") == Array("mine".utf8))
    unlink(path)
    mkfifo(path, 0o600)
    let error = #expect(throws: TrainingError.self) {
      _ = try MetricsFile(path: path, continuingAfter: 5)
    }
    #expect(error?.description == "\(path): is a pipe; it must be a regular file or absent")
  }

  @Test func aFileThatCannotBeWrittenIsNamed() throws {
    let folder = TemporaryFolder()
    let file = try MetricsFile(path: folder.path + "/metrics.jsonl", continuingAfter: nil)
    try FileManager.default.removeItem(atPath: file.path)
    try FileManager.default.createDirectory(
      atPath: file.path, withIntermediateDirectories: false)
    #expect(throws: TrainingError.notWritten(path: file.path, reason: "Is a directory")) {
      try file.append(line(1))
    }
  }
}
