/// A text cut into pieces, each of which is encoded on its own.
struct Pieces {
  /// The text, valid UTF-8.
  var text: [UInt8]
  /// The start and the end of each piece in `text`, in order; what lies between pieces is left out.
  var bounds: [UInt32]
  /// Whether the first piece begins where the whole text does.
  var startsText: Bool

  /// The longest text, in bytes: transformed text must fit 32 bits.
  static let mostBytes = 1 << 30

  /// A text in one piece, or none if it is empty.
  init(_ text: [UInt8], startsText: Bool) {
    self.text = text
    self.startsText = startsText
    bounds = text.isEmpty ? [] : [0, UInt32(text.count)]
  }

  var count: Int { bounds.count / 2 }

  /// Calls `body` with each piece.
  @inline(__always)
  func forEach(
    _ body: (UnsafeBufferPointer<UInt8>) throws(TokenizerError) -> Void
  ) throws(TokenizerError) {
    var failure: TokenizerError?
    text.withUnsafeBufferPointer { text in
      do throws(TokenizerError) {
        for i in stride(from: 0, to: bounds.count, by: 2) {
          let range = Int(bounds[i])..<Int(bounds[i + 1])
          try body(UnsafeBufferPointer(rebasing: text[range]))
        }
      } catch { failure = error }
    }
    if let failure { throw failure }
  }

  /// Replaces the pieces by transformed ones. `body` appends the transformed piece to a new text, whose pieces begin
  /// where it says so by `begin`.
  mutating func transform(
    _ body: (_ piece: UnsafeBufferPointer<UInt8>, _ index: Int, _ text: inout [UInt8]) -> Void
  ) {
    var newText: [UInt8] = []
    newText.reserveCapacity(text.count + text.count / 4 + 8)
    text.withUnsafeBufferPointer { text in
      for i in stride(from: 0, to: bounds.count, by: 2) {
        let range = Int(bounds[i])..<Int(bounds[i + 1])
        bounds[i] = UInt32(truncatingIfNeeded: newText.count)
        body(UnsafeBufferPointer(rebasing: text[range]), i / 2, &newText)
        bounds[i + 1] = UInt32(truncatingIfNeeded: newText.count)
      }
    }
    text = newText
  }
}
