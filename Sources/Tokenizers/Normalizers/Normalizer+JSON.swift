extension Normalizer {
  /// A normaliser as `tokenizer.json` describes it.
  init(_ component: JSONComponent) throws {
    switch try component.type {
    case "NFC": self = .form(.nfc)
    case "NFD": self = .form(.nfd)
    case "NFKC": self = .form(.nfkc)
    case "NFKD": self = .form(.nfkd)
    case "Lowercase": self = .lowercase
    case "StripAccents": self = .stripAccents
    case "Nmt": self = .nmt
    case "ByteLevel": self = .byteLevel
    case "Strip":
      self = .strip(
        left: try component.bool("strip_left", default: true),
        right: try component.bool("strip_right", default: true))
    case "Prepend": self = .prepend(try component.utf8("prepend"))
    case "Replace":
      self = .replace(try component.splitter("pattern"), with: try component.utf8("content"))
    case "BertNormalizer":
      let lowercases = try component.bool("lowercase", default: true)
      self = .bert(
        BertNormalizer(
          cleansText: try component.bool("clean_text", default: true),
          separatesChinese: try component.bool("handle_chinese_chars", default: true),
          stripsAccents: try component.bool("strip_accents", default: lowercases),
          lowercases: lowercases))
    case "Precompiled":
      guard let map = Base64.decode(try component.utf8("precompiled_charsmap", default: "")) else {
        throw component.invalid("precompiled_charsmap", mustBe: "base64")
      }
      self =
        map.isEmpty
        ? .sequence([]) : .precompiled(try CharacterMap(map, source: component.source))
    case "Sequence":
      self = .sequence(try component.components("normalizers").map(Normalizer.init))
    case let type: throw component.unsupported("the normalizer \(type)")
    }
  }
}
