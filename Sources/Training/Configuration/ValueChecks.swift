import AttentionLanguageModels

/// Checks the values of a section and keeps the first failure.
struct ValueChecks {
  private let section: String
  private var failure: ConfigurationError?

  init(section: String) { self.section = section }

  mutating func that(_ holds: Bool, _ key: String, was: String, mustBe: String) {
    guard !holds, failure == nil else { return }
    let path = section.isEmpty ? key : section + "." + key
    failure = .invalidValue(path, was: was, mustBe: mustBe)
  }

  mutating func that(_ value: Int, _ key: String, isAtLeast least: Int) {
    that(value >= least, key, was: "\(value)", mustBe: "at least \(least)")
  }

  /// Also rejects infinities and NaN.
  mutating func that(_ value: Double, _ key: String, isAtLeast least: Double) {
    that(value >= least && value.isFinite, key, was: "\(value)", mustBe: "at least \(least)")
  }

  mutating func that(isPositive value: Double, _ key: String) {
    that(value > 0 && value.isFinite, key, was: "\(value)", mustBe: "above 0")
  }

  /// Rejects the NUL character, at which the system would cut off the path.
  mutating func that(isPath value: String, _ key: String) {
    that(
      !value.utf8.contains(0), key, was: "a string with a NUL character",
      mustBe: "a path without one")
  }

  func finish() throws { if let failure { throw failure } }
}
