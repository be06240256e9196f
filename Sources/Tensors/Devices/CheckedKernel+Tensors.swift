import AttentionCUDA

extension CheckedKernel {
  /// Kernels of elementary operations, and of those of layers that are operations on tensors.
  package static let tensors: [CheckedKernel] = {
    func number(_ name: String, _ dtype: DType, _ architectures: [Int], power: Bool = false)
      -> [CheckedKernel]
    {
      each(
        "tensors/\(name).cu", power ? "power" : dtype.rawValue,
        [dtype.kernelNumber] + (power ? ["POWER=1"] : []), on: architectures)
    }
    func plain(_ name: String, _ architectures: [Int]) -> [CheckedKernel] {
      each("tensors/\(name).cu", on: architectures)
    }
    func rows(_ name: String, _ dtype: DType, _ architecture: Int) -> [CheckedKernel] {
      each(
        "layers/\(name).cu", dtype.rawValue, ["ELEMENT=\(dtype.kernelName)"], on: [architecture])
    }
    return number("binary", .float32, [80, 90, 100]) + number("binary", .float32, [80], power: true)
      + number("binary", .int64, [80]) + plain("cast", [80, 90]) + number("compare", .bool, [80])
      + plain("copy", [80, 90]) + plain("gather", [80]) + plain("philox", [80])
      + number("reduce", .float32, [80, 90]) + number("reduce", .float64, [80])
      + number("scatter", .float32, [90]) + plain("select", [80]) + plain("sort", [80])
      + number("unary", .float32, [80, 90]) + number("unary", .float64, [80])
      + rows("rms_norm", .bfloat16, 80) + rows("rms_norm_backward", .bfloat16, 90)
      + rows("gates", .float16, 80) + rows("rotary", .bfloat16, 90)
      + rows("cross_entropy", .bfloat16, 90) + rows("softmax", .float32, 80)
      + rows("softmax_backward", .float32, 90)
  }()
}
