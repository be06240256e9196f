import Testing

@testable import AttentionCUDA

@Suite struct DeviceLimitsTests {
  private func limits(_ capability: Int) -> DeviceLimits {
    DeviceLimits(
      name: "a GPU", capability: capability, multiprocessors: 100, clockHertz: 1e9,
      memoryBytes: 1 << 30, memoryBytesPerSecond: 1e12, l2Bytes: 1 << 20,
      sharedBytesPerBlock: 1 << 17, sharedBytesPerMultiprocessor: 1 << 17,
      registersPerMultiprocessor: 1 << 16)
  }

  /// Machine code runs on later devices of the same major version only.
  @Test(arguments: [
    (80, 80), (86, 86), (87, 86), (89, 89), (90, 90), (100, 100), (103, 100), (121, 120),
    (75, nil), (200, nil),
  ])
  func architecture(capability: Int, expected: Int?) {
    let available = [80, 86, 89, 90, 100, 120]
    #expect(limits(capability).architecture(from: available) == expected)
  }
}
