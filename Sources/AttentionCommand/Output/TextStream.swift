import Glibc
import LanguageModels

/// Text that a model writes, on standard output as it comes.
struct TextStream {
  let model: LanguageModel
  let options: GenerationOptions

  /// Writes `prompt` and what the model puts behind it, and ends the line.
  func write(prompt: String) throws {
    var generator = try TokenGenerator(
      model, prompt: ByteTokenizer().encode(prompt), options: options)
    var decoder = StreamingDecoder()
    var text = prompt
    repeat {
      print(text, terminator: "")
      fflush(nil)
      guard let token = try generator.next() else { break }
      text = decoder.append(token)
    } while true
    print(decoder.finish())
  }
}
