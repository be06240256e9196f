import CUDA
import Tensors
import Testing

/// The GPU that tests run on, where this machine has one or something that stands in for it.
enum GPU {
  static let device = Device.cuda(0)
  /// Whether there is one, and a compiler for its kernels.
  static let isThere = (try? CUDADevice.at(0)) != nil && (try? Compiler.shared()) != nil
}

extension Trait where Self == ConditionTrait {
  static var onGPU: Self {
    .enabled(if: GPU.isThere, "needs an NVIDIA GPU and NVRTC, or the emulator of both")
  }
}
