import AttentionLanguageModels

/// Text in two parts that share no document: one to train on, one to validate on.
///
/// Whole documents are held out, so the validation loss measures prediction of text from unseen files. Which
/// ones depends on their contents alone, not on the seed or the files' paths. Documents are visited in the
/// order of a hash of their text, and each that still fits into the held-out fraction is held out. If that
/// leaves more than half of the fraction unused (a single document, a few of equal size), the rest is taken
/// from the end of the largest document, starting at the beginning of a line.
public struct Corpus: Sendable {
  public let training: PackedText
  public let validation: PackedText

  /// The least bytes of text: two in each part, one to predict from and one to predict.
  private static let leastBytes = 4

  /// - Parameters:
  ///   - documents: distinct texts, none empty.
  ///   - validationFraction: the fraction of bytes to hold out, above 0 and at most 0.5.
  ///   - tokenizer: what makes tokens of them, after the split, which it does not change.
  /// - Throws: ``TrainingError/text(path:reason:)`` if there are fewer than four bytes, or the tokenizer
  ///   cannot read a text;
  ///   ``TrainingError/invalidArgument(_:was:mustBe:)`` for a fraction out of range.
  public init(
    _ documents: [Document], validationFraction: Double, tokenizer: ModelTokenizer = .bytes
  ) throws {
    guard validationFraction > 0, validationFraction <= 0.5 else {
      throw TrainingError.invalidArgument(
        "validationFraction", was: "\(validationFraction)", mustBe: "above 0 and at most 0.5")
    }
    let total = documents.reduce(0) { $0 + $1.bytes.count }
    let split = Corpus.split(
      documents, budget: max(2, Int(Double(total) * validationFraction)))
    training = try PackedText(split.training, tokenizer: tokenizer)
    validation = try PackedText(split.validation, tokenizer: tokenizer)
    guard total >= Corpus.leastBytes, training.pairCount > 0, validation.pairCount > 0 else {
      throw TrainingError.text(
        path: documents.map(\.name).joined(separator: ", "),
        reason: "\(total) bytes of text are too few to train and validate on")
    }
  }

  /// A hash of both parts: equal for equal documents in equal order, split equally.
  public var fingerprint: String {
    var hash = FNV1a()
    for part in [training, validation] {
      hash.combine(part.starts.count)
      for start in part.starts { hash.combine(start) }
      hash.combine(part.tokens)
    }
    let digits = String(hash.value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }

  struct Split {
    /// A document, or one end of it.
    struct Part {
      let name: String
      let bytes: ArraySlice<UInt8>
    }

    var training: [Part] = []
    var validation: [Part] = []
  }

  static func split(_ documents: [Document], budget: Int) -> Split {
    let hashes = documents.map(\.contentHash)
    let order = documents.indices.sorted { (hashes[$0], $0) < (hashes[$1], $1) }
    var left = budget
    var heldOut: Set<Int> = []
    for index in order {
      // A text of one byte has no pair.
      let size = documents[index].bytes.count
      guard size >= 2, size <= left else { continue }
      heldOut.insert(index)
      left -= size
    }
    var split = Split()
    let largest = order.filter { !heldOut.contains($0) }
      .max { documents[$0].bytes.count < documents[$1].bytes.count }
    for (index, document) in documents.enumerated() {
      func part(_ bytes: ArraySlice<UInt8>) -> Split.Part {
        Split.Part(name: document.name, bytes: bytes)
      }
      if heldOut.contains(index) {
        split.validation.append(part(document.bytes[...]))
      } else if index == largest, left > budget / 2 {
        let cut = place(toCut: document.bytes, keeping: left)
        split.training.append(part(document.bytes[..<cut]))
        split.validation.append(part(document.bytes[cut...]))
      } else {
        split.training.append(part(document.bytes[...]))
      }
    }
    return split
  }

  /// The start of the last `budget` bytes, moved forward to the beginning of a line, or at least of a
  /// character, if at least half of them remain.
  private static func place(toCut bytes: [UInt8], keeping budget: Int) -> Int {
    let cut = max(0, bytes.count - budget)
    let last = min(bytes.count, cut + budget / 2)
    if let line = bytes[cut..<last].firstIndex(of: UInt8(ascii: "\n")) { return line + 1 }
    // Continuation bytes of UTF-8 begin with the bits 10.
    return bytes[cut..<last].firstIndex { $0 & 0xC0 != 0x80 } ?? cut
  }
}
