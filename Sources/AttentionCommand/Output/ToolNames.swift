import AttentionOperators
import AttentionLanguageModels
import AttentionLayers
import AttentionTokenizers

/// The tool's names for the libraries' arguments: tensors by their names in files, options by their flags.
enum ToolNames {
  /// Names that differ from the Swift names by more than their spelling.
  private static let names = [
    "temperature": "--temperature",
    "topK": "--top-k", "topP": "--top-p", "maximumTokens": "--tokens", "prompt": "--prompt",
    "guessLength": "--speculate",
    "vocabularySize": "--vocabulary", "minimumFrequency": "--minimum-frequency",
    "specialTokens": "--special",
    "initialKeyState": "initial_state", "writes": "slots", "paddingMask": "padding_mask",
  ].merging(OperatorFlags.names) { own, _ in own }

  /// The message of `error` with the tool's names of arguments; nil if it is not about an argument.
  static func message(of error: any Error) -> String? {
    switch error {
    case AttentionError.invalidArgument(let name, let was, let mustBe):
      CommandError(names[name] ?? namingTensors(name), was: was, mustBe: namingTensors(mustBe))
        .description
    case GenerationError.invalidArgument(let name, let was, let mustBe):
      CommandError(names[name] ?? name, was: was, mustBe: mustBe).description
    case TokenizerError.invalidArgument(let name, let was, let mustBe):
      CommandError(names[name] ?? name, was: was, mustBe: mustBe).description
    case LayerError.invalidArgument(let name, let was, let mustBe):
      CommandError(names[name] ?? namingTensors(name), was: was, mustBe: namingTensors(mustBe))
        .description
    default: nil
    }
  }

  /// `dtype of keyMask` as `dtype of key_mask`.
  private static func namingTensors(_ text: String) -> String {
    text.replacing(/[a-z]+([A-Z][a-z]*)*/) { match -> String in
      snakeCased(String(match.output.0))
    }
  }

  /// `keyMask` as `key_mask`, if there is a tensor of that name.
  private static func snakeCased(_ word: String) -> String {
    let name = word.reduce(into: "") { result, letter in
      result += letter.isUppercase ? "_" + letter.lowercased() : String(letter)
    }
    return InputName.isTensor(name) ? name : word
  }
}
