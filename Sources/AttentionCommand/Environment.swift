import AttentionCLibrary
import AttentionTensors

/// The environment variables that configure kernels.
enum Environment {
  /// - Throws: ``CommandError`` if a variable has an invalid value, which would otherwise be ignored.
  static func check() throws {
    if let text = value("ATTENTION_THREADS"), Int(text).map({ $0 > 0 }) != true {
      throw CommandError("ATTENTION_THREADS", was: text, mustBe: "a whole number of at least 1")
    }
    let sets = InstructionSet.supported.map(\.rawValue)
    if let text = value("ATTENTION_ISA"), !sets.contains(text) {
      throw CommandError(
        "ATTENTION_ISA", was: text, mustBe: "one of \(sets.joined(separator: ", "))")
    }
  }

  private static func value(_ name: String) -> String? {
    getenv(name).map { String(cString: $0) }
  }
}
