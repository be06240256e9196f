import AttentionCUDAKernels

/// The source of a kernel: its file and the headers that it may include.
public struct KernelSource: Hashable, Sendable {
  public struct File: Hashable, Sendable {
    /// The path by which it is included, such as `attention/forward.cu`.
    public var name: String
    public var text: String

    public init(name: String, text: String) {
      self.name = name
      self.text = text
    }
  }

  public var main: File
  public var headers: [File]

  public init(main: File, headers: [File]) {
    self.main = main
    self.headers = headers
  }

  /// The files embedded in this build.
  private static let embedded: [File] = (0..<cuda_source_count()).map { index in
    let source = cuda_source_at(index)
    return File(name: String(cString: source.name), text: String(cString: source.text))
  }

  /// Names of the kernels embedded in this build.
  public static var names: [String] {
    embedded.map(\.name).filter { $0.hasSuffix(".cu") }
  }

  /// The embedded source called `name`, with all headers.
  ///
  /// - Throws: ``CUDAError/invalidArgument(_:was:mustBe:)`` if there is none of this name.
  public static func named(_ name: String) throws -> KernelSource {
    guard let main = embedded.first(where: { $0.name == name && names.contains(name) }) else {
      throw CUDAError.invalidArgument(
        "kernel", was: name, mustBe: "one of \(names.joined(separator: ", "))")
    }
    return KernelSource(main: main, headers: embedded.filter { !$0.name.hasSuffix(".cu") })
  }
}
