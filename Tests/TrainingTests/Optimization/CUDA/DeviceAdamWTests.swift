import AttentionTensors
import TestSupport
import Testing

@testable import AttentionTraining

/// The optimizer on a GPU compared with the CPU, which computes in the same order except for fused
/// multiply-adds.
@Suite(.onGPU) struct DeviceAdamWTests {
  /// One piece, several with a remainder, none, and a scalar.
  private static let shapes: [Shape] = [[131, 257], [77], [0], [], [64, 64]]

  private func drawn(_ seed: UInt64, _ dtype: DType = .float32) throws -> [Tensor] {
    var random = Philox(seed: seed)
    return try Self.shapes.map { try Tensor.normal($0, using: &random).cast(to: dtype) }
  }

  private func expectClose(
    _ actual: [Tensor], _ expected: [Tensor], within tolerance: Double, _ label: String
  ) throws {
    for (place, pair) in zip(actual, expected).enumerated() {
      let (x, y) = (
        try pair.0.elements(as: Double.self), try pair.1.elements(as: Double.self)
      )
      let difference = zip(x, y).reduce(0.0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
      let size = y.reduce(0.0) { $0 + $1 * $1 }
      #expect(pair.0.shape == pair.1.shape, "\(label) of \(place)")
      #expect(
        difference.squareRoot() <= tolerance * max(size.squareRoot(), .leastNormalMagnitude),
        "\(label) of \(place)")
    }
  }

  @Test(arguments: [DType.float32, .bfloat16, .float16], Precision.allCases)
  func stepsAreThoseOfTheProcessor(_ dtype: DType, _ precision: Precision) throws {
    let optimizer = AdamW(weightDecay: 0.3)
    var host = try drawn(1)
    var device = try host.map { try $0.moved(to: GPU.device) }
    var hostState = try AdamW.State(for: host)
    var deviceState = try AdamW.State(for: device)
    for step in 0..<4 {
      let gradients = try drawn(UInt64(step) + 2, dtype)
      let moved = try gradients.map { try $0.moved(to: GPU.device) }
      let limit = 3.0
      let clip = try GradientClip(of: gradients, limit: limit)
      let deviceClip = try GradientClip(of: moved, limit: limit)
      let (own, other) = (try deviceClip.values, try clip.values)
      for (a, b) in zip(own, other) { #expect(abs(a - b) < 1e-5 * b) }
      let expected = try optimizer.step(
        host, gradients: gradients, clip: clip, rate: 0.02, state: hostState,
        precision: precision)
      let actual = try optimizer.step(
        device, gradients: moved, clip: deviceClip, rate: 0.02, state: deviceState,
        precision: precision)
      (host, hostState) = (expected.parameters, expected.state)
      (device, deviceState) = (actual.parameters, actual.state)
      #expect(actual.rounded.allSatisfy { $0.dtype == precision.dtype })
      let tolerance = 1e-6
      try expectClose(device, host, within: tolerance, "parameters")
      try expectClose(
        deviceState.firstMoments, hostState.firstMoments, within: tolerance, "first moments")
      try expectClose(
        deviceState.secondMoments, hostState.secondMoments, within: 2 * tolerance,
        "second moments")
      // Rounded once more, numbers close to a midpoint may go either way.
      try expectClose(
        actual.rounded, expected.rounded, within: precision == .float32 ? tolerance : 1e-4,
        "rounded")
    }
  }

  @Test func normsOfTheDevice() throws {
    let gradients = try [
      Tensor([3, 0, 0].map(Float.init)), Tensor([0, 4].map(Float.init), [2, 1]),
      Tensor([Float](), [0]), Tensor.full([40_000], 0.01),
    ].map { try $0.moved(to: GPU.device) }
    let norm = try GradientNorm.norm(of: gradients)
    #expect(abs(norm - 29.0.squareRoot()) < 1e-5)
    #expect(try GradientClip(of: gradients, limit: 1).values[1] < 1)
    #expect(try GradientClip(of: gradients, limit: 100).values[1] == 1)
    let broken = [try Tensor([Float.nan]).moved(to: GPU.device)]
    #expect(try GradientNorm.norm(of: broken).isNaN)
  }

  @Test func tensorsOfSeveralDevicesAreRefused() throws {
    let host = [try Tensor.zeros([2, 3])]
    let device = [try host[0].moved(to: GPU.device)]
    let error = #expect(throws: TrainingError.self) {
      _ = try AdamW().step(device, gradients: host, rate: 1, state: AdamW.State(for: device))
    }
    #expect(
      error?.description == "gradients[0] is on cpu; it must be on cuda:0, as parameters[0]")
  }
}
