import ArgumentParser
import AttentionTokenizers

/// `attention tokenizer`
struct TokenizerCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tokenizer",
    abstract: "Text as the tokens of a model, and back.",
    subcommands: [Encode.self, Decode.self])

  /// The options of every subcommand.
  struct Source: ParsableArguments {
    @Argument(
      help: "A tokenizer's file, such as tokenizer.json, or the folder of a model that has one.")
    var folder: String

    @Argument(help: "The file to read, - for standard input.")
    var file: String
  }

  /// `attention tokenizer encode`
  struct Encode: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the token numbers of each line of a text, in a line.")

    @OptionGroup var source: Source

    @Flag(help: "Put the tokens that mark beginning and end around each line.")
    var markEnds = false

    @Flag(help: "Encode special tokens such as <|im_end|> in the text as any other text.")
    var plain = false

    func run() throws {
      let tokenizer = try TextTokenizer(path: source.folder)
      let options = TextTokenizer.EncodingOptions(
        marksEnds: markEnds, findsSpecialTokens: !plain)
      var lines = try LineReader(path: source.file)
      var output: [UInt8] = []
      while let line = try lines.next() {
        output.removeAll(keepingCapacity: true)
        do {
          for token in try tokenizer.encode(utf8: line, options: options) {
            if !output.isEmpty { output.append(UInt8(ascii: " ")) }
            output.append(decimal: token)
          }
        } catch let error as TokenizerError { throw lines.error("\(error)") }
        output.append(UInt8(ascii: "\n"))
        try StandardOutput.write(output)
      }
    }
  }

  /// `attention tokenizer decode`
  struct Decode: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the text of each line of token numbers, in a line.")

    @OptionGroup var source: Source

    @Flag(help: "Leave special tokens such as <|im_end|> out.")
    var skipSpecial = false

    func run() throws {
      let tokenizer = try TextTokenizer(path: source.folder)
      var lines = try LineReader(path: source.file)
      while let line = try lines.next() {
        var decoder = tokenizer.decoder(skipsSpecialTokens: skipSpecial)
        var text = ""
        for word in line.split(separator: UInt8(ascii: " ")) {
          text += decoder.append(try token(word, of: tokenizer, lines))
        }
        text += decoder.finish()
        try StandardOutput.write(Array(text.utf8) + [UInt8(ascii: "\n")])
      }
    }

    private func token(
      _ word: ArraySlice<UInt8>, of tokenizer: TextTokenizer, _ lines: borrowing LineReader
    ) throws -> Int32 {
      let text = String(decoding: word, as: UTF8.self)
      guard let token = Int32(text), (0..<tokenizer.vocabularySize).contains(Int(token)) else {
        throw lines.error("\(text) must be a number in 0..<\(tokenizer.vocabularySize)")
      }
      return token
    }
  }
}

extension [UInt8] {
  /// Appends a number in decimal digits.
  fileprivate mutating func append(decimal number: Int32) {
    append(contentsOf: String(number).utf8)
  }
}
