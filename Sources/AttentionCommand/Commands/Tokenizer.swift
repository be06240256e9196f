import ArgumentParser
import AttentionTensors
import AttentionTokenizers

/// `attention tokenizer`
struct TokenizerCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tokenizer",
    abstract: "Text as the tokens of a model, and back.",
    subcommands: [Encode.self, Decode.self, Chat.self, Train.self])

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

extension TokenizerCommand {
  /// `attention tokenizer chat`
  struct Chat: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the text that a model's chat template makes of each line's conversation.",
      discussion: """
        A line is a JSON object with the variables of the template: messages, and where it has them tools, \
        add_generation_prompt and others. The text is printed as a JSON string in a line, since it has lines itself.
        """)

    @Argument(help: "The folder of a model, or a file with the template.")
    var folder: String

    @Argument(help: "The file to read, - for standard input.")
    var file: String

    func run() throws {
      let template = try ChatTemplate(path: folder)
      var lines = try LineReader(path: file)
      while let line = try lines.next() {
        do {
          let conversation = try ChatValue(json: line, source: "the conversation")
          let text = try template.render(conversation: conversation)
          try StandardOutput.write(Array(ChatValue.string(text).json.utf8) + [UInt8(ascii: "\n")])
        } catch let error as ChatTemplateError { throw lines.error("\(error)") }
      }
    }
  }
}

extension TokenizerCommand {
  /// `attention tokenizer train`
  struct Train: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make a byte-level byte pair encoding of text, and write it as tokenizer.json.",
      discussion: "The same text gives the same file.")

    @Argument(help: ArgumentHelp("Files of text in UTF-8.", valueName: "text"))
    var files: [String]

    @Option(
      name: [.customShort("o"), .customLong("output")],
      help: ArgumentHelp("The file to write.", valueName: "tokenizer.json"))
    var output: String

    @Option(
      parsing: .unconditional, help: "How many tokens there are at most, the 256 bytes included.",
      transform: Number.whole)
    var vocabulary = 32_000

    @Option(
      parsing: .unconditional, help: "How often two tokens must meet to become one.",
      transform: Number.whole)
    var minimumFrequency = 2

    @Option(
      name: .customLong("special"), help: "A special token, such as <|endoftext|>; may be repeated."
    )
    var specialTokens: [String] = []

    @Option(help: "The regular expression that cuts text into words.")
    var pattern = BytePairTrainer.defaultPattern

    func run() throws {
      try OutputPath.check(output)
      var trainer = try BytePairTrainer(
        vocabularySize: vocabulary, minimumFrequency: minimumFrequency,
        specialTokens: specialTokens, pattern: pattern)
      for file in files {
        let text = try TextTokenizer.bytes(ofFile: file)
        do { try trainer.add(utf8: text) } catch let error as TokenizerError {
          throw CommandError("\(file): \(error)")
        }
      }
      try AtomicFile.write(to: output) { writer in
        try trainer.tokenizerJSON().withUnsafeBytes { try writer.write($0) }
      }
    }
  }
}

extension [UInt8] {
  /// Appends a number in decimal digits.
  fileprivate mutating func append(decimal number: Int32) {
    // Digits from the last to the first; tokens are not negative.
    let first = count
    var rest = number
    repeat {
      append(UInt8(ascii: "0") + UInt8(rest % 10))
      rest /= 10
    } while rest > 0
    self[first...].reverse()
  }
}
