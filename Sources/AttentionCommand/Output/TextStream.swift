import AttentionCLibrary
import AttentionCUDA
import AttentionLanguageModels

/// A model's text, written to standard output as it is generated. On a terminal control characters are escaped: a
/// model's output must not control its user's terminal.
struct TextStream {
  let model: LanguageModel
  let options: GenerationOptions

  /// Writes `prompt` and its continuation, and ends the line.
  ///
  /// - Throws: ``CommandError`` if the model's tokens are not bytes.
  func write(prompt: String) throws {
    let vocabulary = model.configuration.vocabularySize
    guard vocabulary == ByteTokenizer.vocabularySize else {
      throw CommandError(
        "the model's vocabulary_size", was: "\(vocabulary)",
        mustBe: "\(ByteTokenizer.vocabularySize), one token per byte")
    }
    var generator = try TokenGenerator(
      model, prompt: ByteTokenizer().encode(prompt), options: options)
    var decoder = StreamingDecoder()
    var text = prompt
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
