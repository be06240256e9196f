import AttentionCUDA
import Synchronization

/// A kernel of this package with its options, as launches that are repeated hold on to it: it is found
/// again without comparing names.
public final class DeviceKernel: Sendable {
  let request: KernelRequest
  /// By the place of their device.
  private let modules = Mutex<[KernelModule?]>([])

  /// - Parameters:
  ///   - name: its source without the ending, as `layers/softmax`; the source's function has the same
  ///     name with `_` for `/`.
  ///   - element: what the source's macro `ELEMENT` stands for, where it has one.
  ///   - definitions: other macros with their values, as `WIDTH=64`.
  ///   - isSpecific: whether it uses instructions that only its architecture has.
  ///   - sharedBytes: shared memory of a block.
  public init(
    _ name: String, element: DType? = nil, definitions: [String] = [], isSpecific: Bool = false,
    sharedBytes: Int = 0
  ) {
    request = KernelRequest(
      name: name, element: element, definitions: definitions, sharedBytes: sharedBytes,
      isSpecific: isSpecific)
  }

  /// The kernel on a device, compiled or loaded where it has not been before.
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

/// What a launch asks for.
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

  /// A module for more than every launch may ask for is allowed all that there is, so that one serves
  /// all sizes.
  func allowance(on device: CUDADevice) -> Int {
    sharedBytes > KernelModule.plainSharedBytes
      ? max(sharedBytes, device.limits.sharedBytesPerBlock) : 0
  }
}
