extension PreTokenizer {
  /// A pre-tokenizer as `tokenizer.json` describes it.
  init(_ component: JSONComponent) throws {
    switch try component.type {
    case "ByteLevel":
      let splits = try component.bool("use_regex", default: true)
      self = .byteLevel(
        prefix: try component.bool("add_prefix_space", default: true),
        pattern: splits
          ? try RegularExpression(Self.byteLevelPattern, dialect: .oniguruma) : nil)
    case "Split":
      self = .split(
        try component.splitter("pattern"), try component.name("behavior", default: .isolated),
        isInverted: try component.bool("invert", default: false))
    case "Whitespace":
      let words = try RegularExpression(#"\w+|[^\w\s]+"#, dialect: .rust)
      self = .split(.pattern(words), .removed, isInverted: true)
    case "WhitespaceSplit": self = .scalars(.whitespace, .removed)
    case "Punctuation":
      self = .scalars(Self.punctuation, try component.name("behavior", default: .isolated))
    case "Digits":
      let areSingle = try component.bool("individual_digits", default: false)
      self = .scalars(.numbers, areSingle ? .isolated : .contiguous)
    case "CharDelimiterSplit":
      self = .split(.text(try component.utf8("delimiter")), .removed, isInverted: false)
    case "BertPreTokenizer":
      self = .sequence([
        .scalars(.whitespace, .removed), .scalars(Self.punctuation, .isolated),
      ])
    case "Metaspace": self = .metaspace(try Metaspace(component))
    case "UnicodeScripts": self = .scripts
    case "Sequence":
      self = .sequence(try component.components("pretokenizers").map(PreTokenizer.init))
    case let type: throw component.unsupported("the pre-tokenizer \(type)")
    }
  }

  private static func scalars(_ set: ScalarSet, _ behavior: SplitBehavior) -> PreTokenizer {
    .split(.scalars(ScalarTable(set)), behavior, isInverted: false)
  }

  /// Punctuation of Unicode, and all of ASCII that is neither a letter nor a digit nor a space.
  private static let punctuation = ScalarSet.punctuation.union(
    ScalarSet([0x21...0x2F, 0x3A...0x40, 0x5B...0x60, 0x7B...0x7E]))
}

extension Metaspace {
  /// A `Metaspace` as `tokenizer.json` describes it, of a pre-tokenizer or a decoder.
  init(_ component: JSONComponent) throws {
    let hasPrefix = try component.bool("add_prefix_space", default: true)
    replacement = try component.utf8("replacement", default: "▁")
    prefix = try component.name("prepend_scheme", default: hasPrefix ? .always : .never)
    splits = try component.bool("split", default: true)
    guard !replacement.isEmpty else {
      throw component.invalid("replacement", mustBe: "a character")
    }
  }
}
