import AttentionCUDA

extension CheckedKernel {
  /// Kernels of the optimizer.
  package static let training =
    each("training/adamw.cu", on: [80, 100]) + each("training/squares.cu", on: [90])
    + each("training/clip.cu", on: [90])
}
