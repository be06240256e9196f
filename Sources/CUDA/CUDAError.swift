/// A failed operation on a GPU.
public enum CUDAError: Error, Equatable, CustomStringConvertible {
  /// A library or a device is missing: where it was looked for, and how to get it.
  case unavailable(String)
  /// A call of the driver, the compiler or another library failed: its name, its code and its text.
  case call(_ name: String, code: Int, text: String)
  /// The device, or the cap set for it, cannot hold the request.
  case outOfMemory(DeviceMemoryReport)
  /// A kernel does not compile: its name, the options, and the compiler's log.
  case compilation(kernel: String, options: [String], log: String)
  /// The folder of compiled kernels is unusable.
  case cache(path: String, reason: String)
  /// An invalid argument: its name, what it was and what it must be.
  case invalidArgument(_ name: String, was: String, mustBe: String)

  public var description: String {
    switch self {
    case .unavailable(let reason): reason
    case .call(let name, let code, let text): "\(name.shown) failed with \(text) (\(code))"
    case .outOfMemory(let report): "\(report)"
    case .compilation(let kernel, let options, let log):
      "\(kernel) does not compile with \(options.joined(separator: " ")): \(log)"
    case .cache(let path, let reason):
      "the folder of compiled kernels \(path.shown): \(reason.shown); "
        + "\(KernelCache.variable) names another folder"
    case .invalidArgument(let name, let was, let mustBe):
      "\(name.shown) is \(was.shown); it must be \(mustBe.shown)"
    }
  }
}
