import AttentionCUDAInterface

/// NCCL, NVIDIA's library of collective operations, opened on first use.
public struct CollectiveLibrary: @unchecked Sendable {
  /// The file that was opened.
  public let path: String
  /// Such as `2.27.3`.
  public let version: String

  /// The library found on this machine.
  ///
  /// - Throws: ``CUDAError/unavailable(_:)`` if there is none.
  public static func shared() throws -> CollectiveLibrary { try loaded.get() }

  private static let loaded = Result { try CollectiveLibrary(.system) }

  init(_ search: LibrarySearch) throws {
    var table = cuda_collectives()
    path = try search.open(.collectives) { path in
      reason { cuda_open_collectives(path, &table, $0, $1) }
    }
    var number: Int32 = 0
    let status = table.ncclGetVersion(&number)
    guard status == 0 else {
      let words = table.ncclGetErrorString(status).map { String(cString: $0) }
      throw CUDAError.call(
        "ncclGetVersion", code: Int(status), text: words ?? "an unknown error")
    }
    version = Self.version(Int(number))
  }

  /// Decodes major, minor and patch from decimal digits: 22703 is 2.27.3. Up to 2.8 the major version was
  /// multiplied by 1,000 instead of 10,000: 2804 is 2.8.4.
  static func version(_ number: Int) -> String {
    let major = number < 10_000 ? 1000 : 10_000
    return "\(number / major).\(number % major / 100).\(number % 100)"
  }
}
