import AttentionCUDA
import AttentionTensors
import Testing

/// The GPU that tests run on, real or emulated.
package enum GPU {
  package static let device = Device.cuda(0)
  /// Whether there is a GPU, and a compiler for its kernels.
  package static let isThere =
    (try? CUDADevice.at(0)) != nil && (try? Compiler.shared()) != nil
}

extension Trait where Self == ConditionTrait {
  /// Runs the test if there is a GPU.
  package static var onGPU: Self {
    .enabled(
      if: GPU.isThere, "needs an NVIDIA GPU and NVRTC, or Scripts/cuda-emulator's of both")
  }
}
