import FoundationEssentials
import AttentionLanguageModels
import Testing

@testable import AttentionTraining

@Suite struct ConfigurationTests {
  private func tree(_ text: String, _ overrides: [String] = []) throws -> JSONValue {
    var tree = try JSONValue(json5: Data(text.utf8), source: "test")
    for override in overrides { try ConfigurationOverride(override).apply(to: &tree) }
    return tree
  }

  @Test func defaultsAreValid() throws {
    try DataConfiguration().validate()
    try TrainingSettings().validate()
    try SampleConfiguration().validate()
  }

  @Test func sectionsAreReadAndWrittenBack() throws {
    let settings = try tree("{steps: 20, learning_rate: 1e-4, output_directory: 'out'}")
      .decoded(as: TrainingSettings.self)
    #expect(settings.steps == 20)
    #expect(settings.learningRate == 1e-4)
    // Defaults adapt, so that a shorter run or a lower rate stays valid.
    #expect(settings.minimumLearningRate == 1e-4)
    #expect(settings.warmupSteps == 20)
    #expect(settings.outputDirectory == "out")
    let again = try JSONValue(encoding: settings).decoded(as: TrainingSettings.self)
    #expect(again == settings)
    #expect(try tree("{paths: 'one'}").decoded(as: DataConfiguration.self).paths == ["one"])
    let sample = try tree("{top_k: 5, prompt: 'x'}").decoded(as: SampleConfiguration.self)
    #expect(sample.topK == 5)
    #expect(sample.topP == nil)
    #expect(try JSONValue(encoding: sample).decoded(as: SampleConfiguration.self) == sample)
  }

  @Test(arguments: [
    (
      "step: 5",
      "unknown key step; did you mean steps? The keys are "
        + TrainingSettings.CodingKeys.allCases.map(\.stringValue).joined(separator: ", ")
    ),
    ("steps: 0", "steps is 0; it must be at least 1"),
    ("steps: 'many'", "steps is \"many\"; it must be a whole number"),
    ("steps: 2.5", "steps is 2.5; it must be a whole number"),
    ("batch_size: -1", "batch_size is -1; it must be at least 1"),
    ("batch_size: 65536, length: 65536", nil),
    ("length: 0", "length is 0; it must be at least 1"),
    ("learning_rate: 0", "learning_rate is 0.0; it must be above 0"),
    (
      "learning_rate: 1e-3, minimum_learning_rate: 1e-2",
      "minimum_learning_rate is 0.01; it must be at most learning_rate, 0.001"
    ),
    ("beta1: 1", "beta1 is 1.0; it must be at least 0, below 1"),
    ("clip_norm: 0", "clip_norm is 0.0; it must be above 0"),
    ("weight_decay: -1", "weight_decay is -1.0; it must be at least 0.0"),
    (
      "precision: 'float16'",
      "precision is \"float16\"; it must be one of \"float32\", \"bfloat16\""
    ),
    ("seed: -1", "seed is -1; it must be at least 0"),
    ("output_directory: ''", "output_directory is \"\"; it must be the path of a folder"),
  ])
  func wrongTrainingSettingsAreNamed(text: String, message: String?) {
    let error = #expect(throws: ConfigurationError.self) {
      _ = try tree("{\(text)}").decoded(as: TrainingSettings.self)
    }
    if let message { #expect(error?.description == message) }
  }

  @Test(arguments: [
    "paths: []", "extensions: []", "validation_fraction: 0", "validation_fraction: 0.9",
    "path: 'x'", "paths: [1]",
  ])
  func wrongDataIsRefused(text: String) {
    #expect(throws: ConfigurationError.self) {
      _ = try tree("{\(text)}").decoded(as: DataConfiguration.self)
    }
  }

  @Test(arguments: [
    "prompt: ''", "tokens: -1", "temperature: -0.1", "top_k: 0", "top_p: 0", "top_p: 1.5",
    "topk: 3",
  ])
  func wrongSamplesAreRefused(text: String) {
    #expect(throws: ConfigurationError.self) {
      _ = try tree("{\(text)}").decoded(as: SampleConfiguration.self)
    }
  }

  @Test func overridesReplaceAndAddValues() throws {
    let changed = try tree(
      "{a: {b: 1, list: [{t: 'x'}, {t: 'y'}]}}",
      ["a.b=20", "a.list.1.t=softmax", "new.deep.key=[1, 'two',]", "flag=true", "empty=", "r=3e-4"])
    let expected = try tree(
      """
      {a: {b: 20, list: [{t: 'x'}, {t: 'softmax'}]}, new: {deep: {key: [1, 'two']}}, flag: true,
       empty: '', r: 0.0003}
      """)
    #expect(changed == expected)
    #expect(try tree("{}", ["path=runs/a=b"]) == tree("{path: 'runs/a=b'}"))
    #expect(try tree("{}", ["text='20'"]) == tree("{text: '20'}"))
    #expect(try tree("{a: {b: 1}}", ["a=null"]) == tree("{a: null}"))
  }

  @Test(arguments: ["steps", "=3", "a..b=3", ".a=3", "a.=3"])
  func textThatIsNoOverrideIsRefused(text: String) {
    #expect(throws: ConfigurationError.self) { _ = try ConfigurationOverride(text) }
  }

  @Test(arguments: [
    ("a.b.c=1", "a.b is 1; it must be an object or array with c"),
    ("a.list.2=1", "a.list.2 is element 2 of an array of 2; it must be an element in 0..<2"),
    ("a.list.x=1", "a.list.x is element x of an array of 2; it must be an element in 0..<2"),
  ])
  func overridesThatLeadNowhereAreNamed(text: String, message: String) {
    let error = #expect(throws: ConfigurationError.self) {
      _ = try tree("{a: {b: 1, list: [1, 2]}}", [text])
    }
    #expect(error?.description == message)
  }
}
