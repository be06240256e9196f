import AttentionCUDAInterface

/// NVRTC, NVIDIA's run-time compiler, opened on first use.
public struct Compiler: @unchecked Sendable {
  /// The file that was opened.
  public let path: String
  /// Such as `13.0`.
  public let version: String
  /// The architectures that it compiles for: 80 for sm_80.
  public let architectures: [Int]
  private let functions: cuda_compiler

  /// The compiler found on this machine.
  ///
  /// - Throws: ``CUDAError/unavailable(_:)`` if there is none.
  public static func shared() throws -> Compiler { try loaded.get() }

  private static let loaded = Result { try Compiler(.system) }

  init(_ search: LibrarySearch) throws {
    var table = cuda_compiler()
    path = try search.open(.compiler) { path in
      reason { text, capacity in
        guard let companion = search.companion(ofCompilerAt: path) else {
          return cuda_open_compiler(path, nil, &table, text, capacity)
        }
        return cuda_open_compiler(path, companion, &table, text, capacity)
      }
    }
    functions = table
    var (major, minor, count): (Int32, Int32, Int32) = (0, 0, 0)
    try Self.check("nvrtcVersion", table.nvrtcVersion(&major, &minor), table)
    version = "\(major).\(minor)"
    try Self.check(
      "nvrtcGetNumSupportedArchs", table.nvrtcGetNumSupportedArchs(&count), table)
    var architectures = [Int32](repeating: 0, count: Int(count))
    try Self.check(
      "nvrtcGetSupportedArchs", table.nvrtcGetSupportedArchs(&architectures), table)
    self.architectures = architectures.map(Int.init)
  }

  /// The result of a compilation.
  struct Output {
    /// Machine code for one architecture.
    var code: [UInt8]
    /// Warnings and requested reports.
    var log: String
  }

  /// Compiles a source to machine code.
  ///
  /// - Throws: ``CUDAError/compilation(kernel:options:log:)`` with the compiler's log.
  func compile(_ source: KernelSource, options: [String]) throws -> Output {
    var program: OpaquePointer?
    let headers = source.headers.map { ($0.name, $0.text) }
    try withCStrings(headers.map(\.1)) { texts in
      try withCStrings(headers.map(\.0)) { names in
        try Self.check(
          "nvrtcCreateProgram",
          functions.nvrtcCreateProgram(
            &program, source.main.text, source.main.name, Int32(headers.count), texts, names),
          functions)
      }
    }
    defer { _ = functions.nvrtcDestroyProgram(&program) }
    let status = withCStrings(options) {
      functions.nvrtcCompileProgram(program, Int32(options.count), $0)
    }
    let log = try bytes(
      "nvrtcGetProgramLog", program, functions.nvrtcGetProgramLogSize, functions.nvrtcGetProgramLog)
    let text = String(decoding: log.prefix { $0 != 0 }, as: UTF8.self)
    guard status == 0 else {
      throw CUDAError.compilation(
        kernel: source.main.name, options: options,
        log: text.isEmpty ? Self.words(status, functions) : text)
    }
    let code = try bytes(
      "nvrtcGetCUBIN", program, functions.nvrtcGetCUBINSize, functions.nvrtcGetCUBIN)
    return Output(code: code, log: text)
  }

  private func bytes(
    _ name: String, _ program: OpaquePointer?,
    _ size: (OpaquePointer?, UnsafeMutablePointer<Int>?) -> Int32,
    _ fill: (OpaquePointer?, UnsafeMutablePointer<CChar>?) -> Int32
  ) throws -> [UInt8] {
    var count = 0
    try Self.check("\(name)Size", size(program, &count), functions)
    return try [UInt8](unsafeUninitializedCapacity: count) { buffer, written in
      try buffer.withMemoryRebound(to: CChar.self) {
        try Self.check(name, fill(program, $0.baseAddress), functions)
      }
      written = count
    }
  }

  private static func words(_ status: Int32, _ functions: cuda_compiler) -> String {
    functions.nvrtcGetErrorString(status).map { String(cString: $0) } ?? "an unknown error"
  }

  private static func check(_ name: String, _ status: Int32, _ functions: cuda_compiler) throws {
    guard status != 0 else { return }
    throw CUDAError.call(name, code: Int(status), text: words(status, functions))
  }
}

/// Calls `body` with the strings as an array of C strings.
func withCStrings<R>(
  _ strings: [String], _ body: (UnsafePointer<UnsafePointer<CChar>?>?) throws -> R
) rethrows -> R {
  let count = strings.reduce(0) { $0 + $1.utf8.count + 1 }
  return try withUnsafeTemporaryAllocation(of: CChar.self, capacity: count) { characters in
    var pointers: [UnsafePointer<CChar>?] = []
    var place = 0
    for string in strings {
      pointers.append(characters.baseAddress.map { UnsafePointer($0 + place) })
      for byte in string.utf8 {
        characters[place] = CChar(bitPattern: byte)
        place += 1
      }
      characters[place] = 0
      place += 1
    }
    return try pointers.withUnsafeBufferPointer { try body($0.baseAddress) }
  }
}
