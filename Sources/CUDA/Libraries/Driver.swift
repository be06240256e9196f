import AttentionCUDAInterface

/// The driver's library, opened on first use.
public struct Driver: @unchecked Sendable {
  /// The file that was opened.
  public let path: String
  /// The newest CUDA version that the driver supports: 13000 for 13.0.
  public let version: Int
  let functions: cuda_driver

  /// The driver found on this machine.
  ///
  /// - Throws: ``CUDAError/unavailable(_:)`` if there is no driver or it finds no device.
  public static func shared() throws -> Driver { try loaded.get() }

  private static let loaded = Result { try Driver(.system) }

  init(_ search: LibrarySearch) throws {
    var table = cuda_driver()
    path = try search.open(.driver) { path in
      reason { cuda_open_driver(path, &table, $0, $1) }
    }
    functions = table
    let code = Int(table.cuInit(0))
    guard code != CUDA_NO_DEVICE else {
      throw CUDAError.unavailable("\(path) was found, but no NVIDIA GPU: cuInit finds no device")
    }
    try Self.check("cuInit", code, table)
    var version: Int32 = 0
    try Self.check("cuDriverGetVersion", Int(table.cuDriverGetVersion(&version)), table)
    self.version = Int(version)
  }

  /// Calls a function of the table and turns a failure into an error that names it.
  ///
  /// - Throws: ``CUDAError/call(_:code:text:)``
  func call(_ name: String, _ body: (cuda_driver) -> Int32) throws {
    try Self.check(name, Int(body(functions)), functions)
  }

  private static func check(_ name: String, _ code: Int, _ functions: cuda_driver) throws {
    guard code != 0 else { return }
    var words: [String] = []
    for lookUp in [functions.cuGetErrorName, functions.cuGetErrorString] {
      var text: UnsafePointer<CChar>?
      if lookUp?(Int32(code), &text) == 0, let text { words.append(String(cString: text)) }
    }
    throw CUDAError.call(
      name, code: code, text: words.isEmpty ? "an unknown error" : words.joined(separator: ": "))
  }
}

/// Calls `body` with a buffer for a message, and returns the message if `body` fails.
func reason(_ body: (UnsafeMutablePointer<CChar>, Int) -> Int32) -> String? {
  let capacity = 1024
  return withUnsafeTemporaryAllocation(of: CChar.self, capacity: capacity) { text in
    text.initialize(repeating: 0)
    return text.baseAddress.flatMap { base in
      body(base, capacity) == 0 ? nil : String(cString: base)
    }
  }
}
