import AttentionCLibrary
import AttentionCUDA
import AttentionLanguageModels
import AttentionTokenizers

/// A model's text, written to standard output as it is generated. On a terminal control characters are escaped: a
/// model's output must not control its user's terminal.
struct TextStream {
  let model: TextModel
  let options: GenerationOptions

  /// Writes `prompt` and its continuation, and ends the line.
  func write(prompt: String) throws {
    var generator = try TokenGenerator(
      model.model, prompt: model.tokens(of: prompt), options: options)
    try write(prompt, &generator)
  }

  /// Writes `text` and what is generated, and ends the line.
  func write(_ text: String = "", _ generator: inout TokenGenerator) throws {
    var decoder = model.decoder()
    var text = text
    repeat {
      print(Self.shown(text), terminator: "")
      try StandardOutput.flush()
      guard let token = try generator.next() else { break }
      text = decoder.append(token)
    } while true
    print(Self.shown(decoder.finish()))
  }

  private static func shown(_ text: String) -> String {
    isatty(STDOUT_FILENO) == 0 ? text : text.escaped(keeping: ["\n", "\t"])
  }
}

/// The numbers of the tokens that a model generates, written to standard output as they come.
enum NumberStream {
  /// Writes the tokens with spaces between them, and ends the line.
  static func write(_ generator: inout TokenGenerator) throws {
    var separator = ""
    while let token = try generator.next() {
      print("\(separator)\(token)", terminator: "")
      try StandardOutput.flush()
      separator = " "
    }
    print()
  }
}
