import AttentionCLibrary
import AttentionLanguageModels
import AttentionLayers
import AttentionTensors
import FoundationEssentials
import TestSupport
import Testing

/// Mixers and the published modules that they are named after. `Scripts/check-layers` writes parameters, inputs and
/// outputs of those, and runs this suite.
@Suite(
  .enabled(if: PublishedLayers.folder != nil, "needs the files that Scripts/check-layers writes"))
struct PublishedMixerTests {
  private static let beginning = "parameters."
  /// What earlier layers leave for this one.
  private static let shared = "shared."

  @Test(arguments: PublishedLayers.files) func outputsAreThoseOfTheModule(_ name: String) throws {
    let file = try SafetensorsFile(path: try #require(PublishedLayers.folder) + "/" + name)
    let layer = try JSONValue(json5: #require(file.metadata["layer"]))
      .decoded(as: LayerConfiguration.self)
    let hidden = try #require(file.metadata["hidden_size"].flatMap { Int($0) })
    try layer.mixer.validate(hidden: hidden)
    let pairs = try file.names.filter { $0.hasPrefix(Self.beginning) }.map {
      (path: String($0.dropFirst(Self.beginning.count)), tensor: try file.tensor(named: $0))
    }
    let scope = ParameterScope(try Parameters(pairs))
    let mixer = try layer.mixer.makeMixer(hidden: hidden, outputScale: 1, scope: scope)
    try scope.requireAllUsed()
    let x = try file.tensor(named: "x")
    let context = try TokenContext(batch: x.shape[0], length: x.shape[1])
    for name in file.names where name.hasPrefix(Self.shared) {
      context.shared[String(name.dropFirst(Self.shared.count))] = try file.tensor(named: name)
    }
    let output = try mixer(x, context: context)
    try expectClose(output, file.tensor(named: "y"), within: 1e-5, name)
  }
}

/// The files that `Scripts/check-layers` has written.
private enum PublishedLayers {
  static let folder = getenv("ATTENTION_PUBLISHED_LAYERS").map { String(cString: $0) }

  static var files: [String] {
    guard let folder else { return [] }
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    return names.filter { $0.hasSuffix(".safetensors") }.sorted()
  }
}
