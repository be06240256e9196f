import AttentionCUDA

extension CheckedKernel {
  /// Kernels of scans and the short convolution.
  package static let scan =
    ["gated", "gated_backward", "selective", "convolution", "convolution_backward"].flatMap {
      each("scan/\($0).cu", on: [90])
    } + each("scan/selective_backward.cu", on: [80])
}
