import AttentionLanguageModels

/// The text to train on: the section `data`.
public struct DataConfiguration: Codable, Hashable, Sendable {
  /// Files and folders. Relative paths start at the configuration file's folder.
  public var paths = ["."]
  /// The extensions, without the dot, of the files to read in a folder; "" for names without one. The
  /// default covers text and the source files of common languages.
  public var extensions = [
    "c", "cc", "cpp", "cu", "cuh", "go", "h", "hpp", "java", "js", "kt", "md", "py", "rb", "rs",
    "rst", "sh", "swift", "tex", "ts", "txt",
  ]
  /// The fraction of the text that is held out: above 0, at most 0.5.
  public var validationFraction = 0.1

  public init() {}

  enum CodingKeys: String, CodingKey, CaseIterable {
    case paths, extensions
    case validationFraction = "validation_fraction"
  }

  public init(from decoder: any Decoder) throws {
    self.init()
    let values = try decoder.strictContainer(keyedBy: CodingKeys.self)
    paths = try values.list(.paths, default: paths)
    extensions = try values.list(.extensions, default: extensions)
    validationFraction = try values.value(.validationFraction, default: validationFraction)
    try validate(path: decoder.codingPath.dotted)
  }

  /// - Throws: `ConfigurationError.invalidValue(_:was:mustBe:)` for the first invalid value.
  public func validate(path: String = "data") throws {
    var check = ValueChecks(section: path)
    check.that(!paths.isEmpty, "paths", was: "an empty array", mustBe: "at least one path")
    for (index, path) in paths.enumerated() { check.that(isPath: path, "paths.\(index)") }
    check.that(
      !extensions.isEmpty, "extensions", was: "an empty array", mustBe: "at least one extension")
    check.that(
      validationFraction > 0 && validationFraction <= 0.5, "validation_fraction",
      was: "\(validationFraction)", mustBe: "above 0 and at most 0.5")
    try check.finish()
  }
}

extension KeyedDecodingContainer {
  /// An array of strings; a single string stands for an array of it.
  fileprivate func list(_ key: Key, default otherwise: [String]) throws -> [String] {
    if let single = try? decode(String.self, forKey: key) { return [single] }
    return try value(key, default: otherwise)
  }
}
