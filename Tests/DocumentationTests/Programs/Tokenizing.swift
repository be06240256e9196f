import SwiftAttention

/// The program of the page of tokenizers.
enum Tokenizing {
  static func run(folder: String) throws {
    let tokenizer = try TextTokenizer(path: folder)
    let tokens = try tokenizer.encode("What is attention?")
    var decoder = tokenizer.decoder()
    for token in tokens { print(decoder.append(token), terminator: "") }
    print(decoder.finish())

    guard tokenizer.decode(tokens) == "What is attention?" else {
      throw ProgramError("the text is not decoded")
    }
  }
}
