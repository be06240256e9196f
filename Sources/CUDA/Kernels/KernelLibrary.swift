import Synchronization

/// A kernel source with its options: a source covers all sizes and types and is compiled for one
/// combination at a time.
public struct KernelVariant: Hashable, Sendable {
  /// The source's name, such as `attention/forward.cu`.
  public var source: String
  /// The name of the kernel function.
  public var function: String
  /// Macro definitions, `NAME=value`, in a fixed order.
  public var definitions: [String]
  /// Dynamic shared memory per block, in bytes.
  public var sharedBytes: Int
  /// Whether it uses architecture-specific instructions, such as those of sm_90a on Hopper.
  public var isSpecific: Bool

  public init(
    source: String, function: String, definitions: [String], sharedBytes: Int,
    isSpecific: Bool = false
  ) {
    self.source = source
    self.function = function
    self.definitions = definitions
    self.sharedBytes = sharedBytes
    self.isSpecific = isSpecific
  }
}

extension CUDADevice {
  /// The compiler's options for an architecture.
  static func options(_ variant: KernelVariant, architecture: String) -> [String] {
    ["--gpu-architecture=\(architecture)", "--std=c++17", "-default-device"]
      + variant.definitions.map { "-D\($0)" }
  }

  /// The architecture, such as `sm_90`, to compile kernels for this device.
  private func architecture(of compiler: Compiler) throws -> String {
    guard let number = limits.architecture(from: compiler.architectures) else {
      throw CUDAError.unavailable(
        "\(limits.name) has compute capability \(limits.capability / 10)."
          + "\(limits.capability % 10), which NVRTC \(compiler.version) at \(compiler.path) does "
          + "not compile for; install a CUDA version that does")
    }
    return "sm_\(number)"
  }

  /// The kernel, ready to launch: already loaded, or from the cache on disk, or compiled now.
  public func module(_ variant: KernelVariant) throws -> KernelModule {
    try KernelLibrary.shared.module(index, variant) {
      let compiler = try Compiler.shared()
      let architecture =
        try architecture(of: compiler) + (variant.isSpecific ? "a" : "")
      let source = try KernelSource.named(variant.source)
      let options = Self.options(variant, architecture: architecture)
      let key = KernelKey(
        source: source, options: options, architecture: architecture, compiler: compiler.version)
      var wasCompiled = false
      let code = try KernelCache.shared().code(for: key) {
        wasCompiled = true
        return try compiler.compile(source, options: options).code
      }
      let module = try KernelModule(
        code, function: variant.function, sharedBytes: variant.sharedBytes, on: self)
      return (module, wasCompiled)
    }
  }

  /// The kernels that this process has loaded so far, in the order of their first use.
  public static var setups: [KernelSetup] { KernelLibrary.shared.setups }
}

/// How a kernel was made ready.
public struct KernelSetup: Sendable {
  public let variant: KernelVariant
  /// Whether it was compiled; otherwise its machine code was on disk.
  public let wasCompiled: Bool
  /// From the first request until it was ready to launch.
  public let seconds: Double
}

/// The modules that this process has loaded.
private final class KernelLibrary: Sendable {
  static let shared = KernelLibrary()

  private struct Key: Hashable {
    let device: Int
    let variant: KernelVariant
  }

  private struct State {
    var modules: [Key: KernelModule] = [:]
    var setups: [KernelSetup] = []
  }

  private let state = Mutex(State())

  var setups: [KernelSetup] { state.withLock { $0.setups } }

  /// Loads a module once; concurrent requests wait.
  func module(
    _ device: Int, _ variant: KernelVariant,
    load: () throws -> (module: KernelModule, wasCompiled: Bool)
  ) throws -> KernelModule {
    try state.withLock { state in
      let key = Key(device: device, variant: variant)
      if let module = state.modules[key] { return module }
      let start = ContinuousClock.now
      let (module, wasCompiled) = try load()
      let elapsed = (ContinuousClock.now - start).components
      let attosecondsPerSecond = 1e18
      state.setups.append(
        KernelSetup(
          variant: variant, wasCompiled: wasCompiled,
          seconds: Double(elapsed.seconds) + Double(elapsed.attoseconds) / attosecondsPerSecond))
      state.modules[key] = module
      return module
    }
  }
}
