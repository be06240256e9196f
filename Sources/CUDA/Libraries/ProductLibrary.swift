import AttentionCUDAInterface

/// cuBLASLt, NVIDIA's library of matrix products, opened on first use.
public struct ProductLibrary: @unchecked Sendable {
  /// The file that was opened.
  public let path: String
  /// Such as `13.1.0`.
  public let version: String
  private let functions: cuda_products

  /// The library found on this machine.
  ///
  /// - Throws: ``CUDAError/unavailable(_:)`` if there is none.
  public static func shared() throws -> ProductLibrary { try loaded.get() }

  private static let loaded = Result { try ProductLibrary(.system) }

  init(_ search: LibrarySearch) throws {
    var table = cuda_products()
    path = try search.open(.products) { path in
      reason { cuda_open_products(path, &table, $0, $1) }
    }
    functions = table
    // Major, minor and patch as decimal digits: 130100 is 13.1.0, 120805 is 12.8.5.
    let number = Int(table.cublasLtGetVersion())
    version = "\(number / 10_000).\(number / 100 % 100).\(number % 100)"
  }

  /// Calls a function of the table and turns a failure into an error that names it.
  ///
  /// - Throws: ``CUDAError/call(_:code:text:)``
  func call(_ name: String, _ body: (cuda_products) -> Int32) throws {
    let status = body(functions)
    guard status != 0 else { return }
    let words = functions.cublasLtGetStatusString(status).map { String(cString: $0) }
    throw CUDAError.call(name, code: Int(status), text: words ?? "an unknown error")
  }
}
