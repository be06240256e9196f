import AttentionCUDA
import Synchronization

/// A kernel of this package with its options, for callers that launch it repeatedly: it is found again
/// without comparing names.
public final class DeviceKernel: Sendable {
  let request: KernelRequest
  /// Indexed by the device's index.
  private let modules = Mutex<[KernelModule?]>([])

  /// - Parameters:
  ///   - name: its source without the extension, such as `layers/softmax`; its function has the same name
  ///     with `_` in place of `/`.
  ///   - element: the value of the source's macro `ELEMENT`, if it has one.
  ///   - definitions: other macro definitions, such as `WIDTH=64`.
  ///   - isSpecific: whether it uses architecture-specific instructions.
  ///   - sharedBytes: shared memory per block.
  public init(
    _ name: String, element: DType? = nil, definitions: [String] = [], isSpecific: Bool = false,
    sharedBytes: Int = 0
  ) {
    request = KernelRequest(
      name: name, element: element, definitions: definitions, sharedBytes: sharedBytes,
      isSpecific: isSpecific)
  }

  /// The kernel on a device, loaded or compiled on first use.
  func module(on device: CUDADevice) throws -> KernelModule {
    let place = device.index
    if let known = modules.withLock({ place < $0.count ? $0[place] : nil }) { return known }
    let module = try device.module(request.variant(on: device))
    modules.withLock { modules in
      let missing = place + 1 - modules.count
      if missing > 0 { modules += [KernelModule?](repeating: nil, count: missing) }
      modules[place] = module
    }
    return module
  }
}

/// The options that identify a kernel.
struct KernelRequest: Hashable, Sendable {
  let name: String
  let element: DType?
  let definitions: [String]
  let sharedBytes: Int
  let isSpecific: Bool

  func variant(on device: CUDADevice) -> KernelVariant {
    KernelVariant(
      source: "\(name).cu", function: String(name.map { $0 == "/" ? "_" : $0 }),
      definitions: (element.map { ["ELEMENT=\($0.kernelName)"] } ?? []) + definitions,
      sharedBytes: allowance(on: device), isSpecific: isSpecific)
  }

  /// The shared memory that the module may use. A module that needs more than the default is allowed the
  /// device's limit, so that one module serves all sizes.
  func allowance(on device: CUDADevice) -> Int {
    sharedBytes > KernelModule.plainSharedBytes
      ? max(sharedBytes, device.limits.sharedBytesPerBlock) : 0
  }
}

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
