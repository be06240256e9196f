import AttentionTensors
import TestSupport
import Testing

@testable import AttentionTraining

@Suite(.onGPU) struct DeviceTrainerTests {
  /// The same seeds give the same weights and batches, and in so few steps rounding does not make runs diverge; a
  /// run may change its device.
  @Test(arguments: Precision.allCases)
  func devicesTrainAlike(_ precision: Precision) throws {
    let folder = TemporaryFolder()
    func run(_ name: String, on device: Device, stopAfter: Int? = nil) throws -> TrainingResult {
      try TrainerTests().trainer(in: folder, run: name, on: device) {
        $0.training.steps = 7
        $0.training.logInterval = 2
        $0.training.precision = precision
      }.run(stopAfter: stopAfter)
    }
    let host = try run("host", on: .cpu)
    let device = try run("device", on: GPU.device)
    _ = try run("mixed", on: GPU.device, stopAfter: 3)
    _ = try run("mixed", on: .cpu, stopAfter: 5)
    let mixed = try run("mixed", on: GPU.device)
    // Half precision may round activations that differ in their last bits to different neighbours.
    let tolerance = precision == .float32 ? 1e-4 : 0.03
    for (name, result) in [("device", device), ("mixed", mixed)] {
      #expect(result.isComplete)
      let pairs = [
        (result.curve.training, host.curve.training),
        (result.curve.validation, host.curve.validation),
      ]
      for (own, other) in pairs {
        #expect(own.map(\.step) == other.map(\.step))
        for (a, b) in zip(own, other) {
          #expect(
            abs(a.bitsPerByte - b.bitsPerByte) < tolerance,
            "\(name) at step \(a.step): \(a.bitsPerByte) is not \(b.bitsPerByte)")
        }
      }
      let files = try folder.contents(of: "\(name)/checkpoint-7").mapValues(\.count)
      let expected = try folder.contents(of: "host/checkpoint-7").mapValues(\.count)
      #expect(
        files.keys.map { $0.replacing(name, with: "host") }.sorted() == expected.keys.sorted())
      #expect(
        files["\(name)/checkpoint-7/model.safetensors"]
          == expected["host/checkpoint-7/model.safetensors"])
    }
    // A device gives the same bits each time.
    let again = try run("again", on: GPU.device)
    #expect(again.curve == device.curve)
    #expect(
      try folder.contents(of: "again/checkpoint-7")["again/checkpoint-7/model.safetensors"]
        == folder.contents(of: "device/checkpoint-7")["device/checkpoint-7/model.safetensors"])
  }
}
