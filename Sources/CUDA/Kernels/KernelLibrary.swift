import Synchronization

/// A kernel of this build with its options: a source is written for all sizes and types, and
/// compiled for one.
public struct KernelVariant: Hashable, Sendable {
  /// The source's name, as `attention/forward.cu`.
  public var source: String
  /// The name of its function.
  public var function: String
  /// Macros with their values, in a fixed order.
  public var definitions: [String]
  /// Dynamic shared memory a block.
  public var sharedBytes: Int
  /// Whether it uses instructions that only its architecture has, as Hopper's of sm_90a.
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
  /// The options of the compiler for a device's architecture.
  static func options(_ variant: KernelVariant, architecture: String) -> [String] {
    ["--gpu-architecture=\(architecture)", "--std=c++17", "-default-device"]
      + variant.definitions.map { "-D\($0)" }
  }

  /// The architecture that kernels for this device are compiled for.
  private func architecture(of compiler: Compiler) throws -> String {
    guard let number = limits.architecture(from: compiler.architectures) else {
      throw CUDAError.unavailable(
        "\(limits.name) has compute capability \(limits.capability / 10)."
          + "\(limits.capability % 10), which NVRTC \(compiler.version) at \(compiler.path) does "
          + "not compile for; install a CUDA version that does")
    }
    return "sm_\(number)"
  }

  /// The kernel, ready to launch: kept in this process, or from the cache on disk, or compiled.
  public func module(_ variant: KernelVariant) throws -> KernelModule {
    try KernelLibrary.shared.module(index, variant) {
      let compiler = try Compiler.shared()
      let architecture =
        try architecture(of: compiler) + (variant.isSpecific ? "a" : "")
      let source = try KernelSource.named(variant.source)
      let options = Self.options(variant, architecture: architecture)
      let key = KernelKey(
        source: source, options: options, architecture: architecture, compiler: compiler.version)
      let code = try KernelCache.shared().code(for: key) {
        try compiler.compile(source, options: options).code
      }
      return try KernelModule(
        code, function: variant.function, sharedBytes: variant.sharedBytes, on: self)
    }
  }
}

/// The modules that this process has loaded.
private final class KernelLibrary: Sendable {
  static let shared = KernelLibrary()

  private struct Place: Hashable {
    let device: Int
    let variant: KernelVariant
  }

  private let modules = Mutex<[Place: KernelModule]>([:])

  /// Loads a module once; who asks for another meanwhile waits.
  func module(_ device: Int, _ variant: KernelVariant, load: () throws -> KernelModule) throws
    -> KernelModule
  {
    try modules.withLock { modules in
      let place = Place(device: device, variant: variant)
      if let module = modules[place] { return module }
      let module = try load()
      modules[place] = module
      return module
    }
  }
}
