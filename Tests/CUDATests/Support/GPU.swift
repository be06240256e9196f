import Testing

@testable import CUDA

extension Trait where Self == ConditionTrait {
  /// Tests that need a GPU run where one is found.
  static var onGPU: Self {
    .enabled("no GPU on this machine; Scripts/cuda-emulator makes one") {
      (try? CUDADevice.all().isEmpty) == false
    }
  }
}
