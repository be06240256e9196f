import FoundationEssentials
import AttentionLanguageModels
import TestSupport
import Testing

@testable import AttentionTraining

/// The tool accepts what examples and documentation tell people to write.
@Suite struct OverrideExampleTests {
  private static let root = #filePath.split(separator: "/").dropLast(4).reduce("") { $0 + "/" + $1 }
  private static let example = root + "/Examples/tiny-hybrid.json5"

  private static func text(_ path: String) throws -> String {
    String(decoding: try Data(contentsOf: URL(filePath: path)), as: UTF8.self)
  }

  /// Files below a folder whose names end with one of these.
  private static func files(_ folder: String, _ endings: String...) throws -> [String] {
    try FileManager.default.subpathsOfDirectory(atPath: root + "/" + folder)
      .filter { name in endings.contains { name.hasSuffix($0) } }
      .map { root + "/" + folder + "/" + $0 }
  }

  /// Every `section.key=value` in a text, except those with shell variables as values.
  private static func overrides(in text: String) -> [String] {
    let pattern = /\b(?:model|data|training|sample)(?:\.[a-z0-9_]+)+=[^\s`"$,;)<>]+/
    return text.matches(of: pattern).map { String($0.output) }
  }

  @Test func configurationsOfExamplesAreRead() throws {
    let paths = try Self.files("Examples", ".json5")
    #expect(!paths.isEmpty)
    for path in paths {
      let text = try Self.text(path)
      _ = try TrainingConfiguration(file: path)
      for override in Self.overrides(in: text) {
        _ = try TrainingConfiguration(file: path, overrides: [override])
      }
    }
    let own = Self.overrides(in: try Self.text(Self.example))
    #expect(own.count >= 2)
  }

  @Test func overridesOfTheDocumentationAreTaken() throws {
    let pages =
      try [Self.root + "/README.md", Self.root + "/CONFIGURATION.md"]
      + Self.files("python", "README.md")
      + Self.files("Sources", ".md", "Train.swift", "Override.swift")
      + Self.files("Scripts", "smoke", "check-resume")
    let found = try pages.flatMap { page in try Self.overrides(in: Self.text(page)) }
    #expect(found.count >= 10)
    for override in found {
      #expect(throws: Never.self, "\(override)") {
        // With the settings of a short run, so that each value is judged by itself.
        _ = try TrainingConfiguration(file: Self.example, overrides: [override])
      }
    }
  }

  @Test func thePageOfKeysIsTheOneInTheRepository() throws {
    let page = try Self.text(Self.root + "/CONFIGURATION.md")
    // Other tests of the same process register mixers of their own.
    let isCurrent = try page == TrainingConfiguration.keysPage(of: MixerRegistry.builtIn)
    #expect(isCurrent, "write it anew: attention train --keys > CONFIGURATION.md")
  }

  @Test func unknownKeysSayWhichThereAre() throws {
    func message(_ override: String) -> String {
      do { return "\(try TrainingConfiguration(file: Self.example, overrides: [override]))" } catch
      {
        return "\(error)"
      }
    }
    #expect(
      message("model.layers.0.heads=2")
        == "unknown key model.layers.0; the keys are pattern, repeat")
    #expect(
      message("data.path=x")
        == "unknown key data.path; did you mean paths? The keys are paths, extensions, validation_fraction"
    )
    #expect(
      message("model.layers.pattern.9.heads=2")
        == "model.layers.pattern.9.heads is element 9 of an array of 4; it must be an element in 0..<4"
    )
  }
}
