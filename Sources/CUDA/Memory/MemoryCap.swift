import AttentionCLibrary

/// The most device memory that this process may hold, set by an environment variable.
public enum MemoryCap {
  /// The environment variable: a number of bytes, `KiB`, `MiB` or `GiB`, such as `20GiB`. Allocations beyond
  /// it fail as they would on a smaller device.
  public static let variable = "ATTENTION_GPU_MEMORY"

  private static let units: [(suffix: String, bytes: Int)] = [
    ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30),
  ]

  /// The cap on this process; nil if there is none.
  ///
  /// - Throws: ``CUDAError/invalidArgument(_:was:mustBe:)`` if the variable is not such a number.
  static func fromEnvironment() throws -> Int? {
    guard let value = getenv(variable) else { return nil }
    return try bytes(String(cString: value))
  }

  /// - Returns: nil for empty text.
  static func bytes(_ text: String) throws -> Int? {
    guard !text.isEmpty else { return nil }
    let unit = units.first { text.hasSuffix($0.suffix) }
    let digits = text.dropLast(unit?.suffix.count ?? 0)
    if let number = Int(digits), number > 0 {
      let (bytes, overflows) = number.multipliedReportingOverflow(by: unit?.bytes ?? 1)
      if !overflows { return bytes }
    }
    throw CUDAError.invalidArgument(
      variable, was: text, mustBe: "a number of bytes above 0, or of KiB, MiB or GiB, as 20GiB")
  }
}
