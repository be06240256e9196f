import AttentionCLibrary
import TestSupport
import Testing

@testable import AttentionTraining

/// Limits apply to a whole process, so each test runs in one of its own.
@Suite struct MemoryLimitTests {
  @Test func aLengthThatNoMemoryHoldsIsRefusedWithWhatItNeeds() async {
    await #expect(processExitsWith: .success) {
      limitMemory(gibibytes: 64)
      let folder = TemporaryFolder()
      let error = #expect(throws: TrainingError.self) {
        _ = try TrainerTests().trainer(in: folder) {
          $0.training.batchSize = 1
          $0.training.length = Int(Int32.max)
        }.run()
      }
      // 2³¹ tokens: two int32 each, and three layers' inputs of 16 numbers.
      let text = error?.description ?? ""
      #expect(text.contains("training.length 2147483647 needs at least 400 GiB"), "\(text)")
      #expect(access(folder.path + "/run", F_OK) != 0)
    }
  }

  @Test func aModelThatNoMemoryHoldsIsRefusedWithWhatItNeeds() async {
    await #expect(processExitsWith: .success) {
      limitMemory(gibibytes: 64)
      let folder = TemporaryFolder()
      let model = try TinyModel.configuration(
        "{hidden_size: 1048576, feed_forward_size: 32, layers: [{type: 'softmax', heads: 4096}]}")
      let error = #expect(throws: TrainingError.self) {
        _ = try TrainerTests().trainer(in: folder) {
          $0.model = .configuration(model)
        }.run()
      }
      #expect(error?.description.contains("TiB of memory") == true, "\(String(describing: error))")
    }
  }

  @Test func aTextThatNoMemoryHoldsIsRefusedBeforeItIsRead() async {
    await #expect(processExitsWith: .success) {
      limitMemory(gibibytes: 16)
      let folder = TemporaryFolder()
      let path = try folder.write("text/large.swift", "x")
      // A sparse file.
      #expect(truncate(path, 40 << 30) == 0)
      let error = #expect(throws: TrainingError.self) {
        _ = try TextFiles.documents(at: ["text"], extensions: ["swift"], relativeTo: folder.path)
      }
      let text = error?.description ?? ""
      #expect(text.hasPrefix("the text, 40.0 GiB, needs at least 80.0 GiB"), "\(text)")
    }
  }

  @Test func whatFitsIsNotRefused() throws {
    try MemoryLimit.require(1 << 20, "a little needs")
    #expect(throws: TrainingError.self) { try MemoryLimit.require(1 << 60, "this needs") }
  }
}

private func limitMemory(gibibytes: Int) {
  var limit = rlimit(rlim_cur: rlim_t(gibibytes) << 30, rlim_max: .max)
  setrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit)
}
